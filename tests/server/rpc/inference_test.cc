// Requests for inference and their answers, through real stubs.

#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "tests/server/rpc/serving_fixture.h"

namespace octet::rpc {
namespace {

using grpc::StatusCode;
using quantization::kMlpHidden;
using quantization::kMlpIn;
using quantization::RandomValues;

TEST_F(Serving, ErrorsNameTheField) {
  MustUpload("tiny", Bert());
  MustLoad("m", "checkpoints/tiny");
  v1::ForwardResponse response;
  const grpc::Status refused =
      Forward("m", Tokens({{1, 2}, {3, 30}}), &response);
  EXPECT_THAT(refused,
              Fails(StatusCode::INVALID_ARGUMENT, "inputs.tokens.ids[3]: "));
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(refused.error_details()));
  google::rpc::BadRequest bad;
  for (const auto& detail : details.details()) detail.UnpackTo(&bad);
  ASSERT_EQ(bad.field_violations_size(), 1);
  EXPECT_EQ(bad.field_violations(0).field(), "inputs.tokens.ids[3]");

  EXPECT_THAT(Forward("m", Rows(1, 1), &response),
              Fails(StatusCode::INVALID_ARGUMENT, "inputs.tokens"));
  EXPECT_THAT(Forward("x", Tokens({{1}}), &response),
              Fails(StatusCode::NOT_FOUND, "model 'x'"));
}

TEST_F(Serving, HiddenStatesHaveOneRowPerToken) {
  MustUpload("tiny", Bert());
  MustLoad("m", "checkpoints/tiny");
  grpc::ClientContext context;
  v1::ForwardRequest request;
  request.set_model("models/m");
  *request.mutable_inputs() = Tokens({{1, 2, 3}, {4}});
  request.set_output(v1::OUTPUT_KIND_HIDDEN_STATES);
  request.set_output_type(v1::DATA_TYPE_F16);
  v1::ForwardResponse response;
  ASSERT_THAT(inference_->Forward(&context, request, &response), Ok());
  EXPECT_EQ(response.output().shape(0), 4);
  EXPECT_EQ(response.output().shape(1), 16);
  EXPECT_EQ(response.output().data().size(), 4 * 16 * 2);
  EXPECT_TRUE(response.timings().has_total());
}

TEST_F(Serving, MatMulIsTheLayerOfTheModel) {
  MustUpload("tiny", Mlp());
  MustLoad("m", "checkpoints/tiny");
  v1::MatMulRequest request;
  request.set_model("models/m");
  request.set_layer("fc1");
  const std::vector<float> x = RandomValues(2 * kMlpIn, 4);
  *request.mutable_x() = MakeTensor(x, 2, kMlpIn);
  v1::MatMulResponse response;
  ASSERT_THAT(MatMul(request, &response), Ok());
  const std::vector<float> y = Values(response.y());
  ASSERT_EQ(y.size(), 2 * kMlpHidden);
  const auto tensors = quantization::MlpTensors();
  for (size_t m = 0; m < 2; ++m) {
    for (size_t n = 0; n < kMlpHidden; ++n) {
      double sum = tensors[1].values[n];
      for (size_t k = 0; k < kMlpIn; ++k) {
        sum += double{x[m * kMlpIn + k]} * tensors[0].values[n * kMlpIn + k];
      }
      EXPECT_NEAR(y[m * kMlpHidden + n], sum, 1e-4);
    }
  }
  request.set_layer("fc7");
  EXPECT_THAT(MatMul(request, &response), Fails(StatusCode::NOT_FOUND, "fc7"));
  request.set_layer("fc2");
  EXPECT_THAT(MatMul(request, &response),
              Fails(StatusCode::INVALID_ARGUMENT, "x: "));
  // Before what the answer to so many rows would take.
  request.set_layer("fc1");
  *request.mutable_x() =
      MakeTensor(std::vector<float>(8'000'000), 8'000'000, 1);
  EXPECT_THAT(MatMul(request, &response),
              Fails(StatusCode::INVALID_ARGUMENT, "x: has 1 columns"));
  std::vector<float> nan = x;
  nan[kMlpIn + 1] = std::numeric_limits<float>::quiet_NaN();
  *request.mutable_x() = MakeTensor(nan, 2, kMlpIn);
  EXPECT_THAT(MatMul(request, &response),
              Fails(StatusCode::INVALID_ARGUMENT, "x[1][1]: "));
}

TEST_F(Serving, AStreamOfMatMulsAnswersInOrder) {
  MustUpload("tiny", Mlp());
  MustLoad("m", "checkpoints/tiny");
  grpc::ClientContext context;
  auto stream = inference_->StreamMatMul(&context);
  constexpr int kRequests = 20;
  v1::StreamMatMulRequest request;
  request.mutable_request()->set_model("models/m");
  request.mutable_request()->set_layer("fc1");
  for (int i = 0; i < kRequests; ++i) {
    request.set_id(std::to_string(i));
    const int rows = 1 + i % 3;
    *request.mutable_request()->mutable_x() =
        MakeTensor(RandomValues(rows * kMlpIn, i), rows, kMlpIn);
    ASSERT_TRUE(stream->Write(request));
  }
  v1::StreamMatMulResponse response;
  for (int i = 0; i < kRequests; ++i) {
    ASSERT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.id(), std::to_string(i));
    EXPECT_EQ(response.response().y().shape(0), 1 + i % 3);
  }
  stream->WritesDone();
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_THAT(stream->Finish(), Ok());
}

TEST_F(Serving, AWrongRequestOfAStreamIsAnsweredAndTheStreamGoesOn) {
  MustUpload("tiny", Mlp());
  MustLoad("m", "checkpoints/tiny");
  grpc::ClientContext context;
  auto stream = inference_->StreamMatMul(&context);
  v1::StreamMatMulRequest request;
  request.mutable_request()->set_model("models/m");
  *request.mutable_request()->mutable_x() =
      MakeTensor(RandomValues(kMlpIn, 1), 1, kMlpIn);
  for (const char* layer : {"fc1", "fc7", "fc1"}) {
    request.mutable_request()->set_layer(layer);
    ASSERT_TRUE(stream->Write(request));
  }
  request.mutable_request()->mutable_x()->add_shape(1);
  ASSERT_TRUE(stream->Write(request));
  stream->WritesDone();

  std::vector<v1::StreamMatMulResponse> responses(4);
  for (auto& response : responses) ASSERT_TRUE(stream->Read(&response));
  EXPECT_THAT(stream->Finish(), Ok());
  for (const int good : {0, 2}) {
    EXPECT_FALSE(responses[good].has_status());
    EXPECT_EQ(responses[good].response().y().shape(0), 1);
  }
  EXPECT_EQ(responses[1].status().code(), StatusCode::NOT_FOUND);
  EXPECT_NE(responses[1].status().message().find("fc7"), std::string::npos);
  EXPECT_FALSE(responses[1].has_response());
  EXPECT_EQ(responses[3].status().code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(responses[3].status().message().find("request.x.shape"), 0);
}

// Sent without reading an answer, so that the window is full and stays so.
TEST_F(Serving, AStreamThatNobodyReadsHoldsNothingUp) {
  MustUpload("tiny", Mlp());
  MustLoad("m", "checkpoints/tiny");
  v1::StreamMatMulRequest request;
  request.mutable_request()->set_model("models/m");
  request.mutable_request()->set_layer("fc1");
  *request.mutable_request()->mutable_x() =
      MakeTensor(RandomValues(1000 * kMlpIn, 1), 1000, kMlpIn);
  grpc::ClientContext context;
  auto stream = inference_->StreamMatMul(&context);
  constexpr int kRequests = 100;
  std::thread writer([&] {
    for (int i = 0; i < kRequests && stream->Write(request); ++i) {
    }
    stream->WritesDone();
  });
  v1::MatMulResponse beside;
  EXPECT_THAT(MatMul(request.request(), &beside), Ok());
  v1::StreamMatMulResponse response;
  int answers = 0;
  while (stream->Read(&response)) {
    EXPECT_EQ(response.response().y().data(), beside.y().data());
    ++answers;
  }
  writer.join();
  EXPECT_THAT(stream->Finish(), Ok());
  EXPECT_EQ(answers, kRequests);
}

TEST_F(Serving, AStreamThatIsCancelledInTheMiddleEnds) {
  MustUpload("tiny", Mlp());
  MustLoad("m", "checkpoints/tiny");
  v1::StreamMatMulRequest request;
  request.mutable_request()->set_model("models/m");
  request.mutable_request()->set_layer("fc1");
  *request.mutable_request()->mutable_x() =
      MakeTensor(RandomValues(100 * kMlpIn, 1), 100, kMlpIn);
  for (int i = 0; i < 20; ++i) {
    grpc::ClientContext context;
    auto stream = inference_->StreamMatMul(&context);
    for (int sent = 0; sent <= i; ++sent) stream->Write(request);
    context.TryCancel();
    EXPECT_THAT(stream->Finish(), Fails(StatusCode::CANCELLED, ""));
  }
}

}  // namespace
}  // namespace octet::rpc
