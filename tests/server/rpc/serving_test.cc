// From calibration to served answers, through real stubs.

#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/bundle/upload.h"
#include "tests/server/rpc/server_fixture.h"

namespace octet::rpc {
namespace {

using grpc::StatusCode;
using quantization::kMlpHidden;
using quantization::kMlpIn;
using quantization::kMlpOut;
using quantization::RandomValues;

v1::ModelInputs Rows(int64_t rows, uint32_t seed) {
  v1::ModelInputs inputs;
  *inputs.mutable_features() =
      MakeTensor(RandomValues(rows * kMlpIn, seed), rows, kMlpIn);
  return inputs;
}

v1::ModelInputs Tokens(const std::vector<std::vector<int32_t>>& sequences) {
  v1::ModelInputs inputs;
  for (const auto& sequence : sequences) {
    inputs.mutable_tokens()->add_lengths(static_cast<int>(sequence.size()));
    for (const int32_t id : sequence) inputs.mutable_tokens()->add_ids(id);
  }
  return inputs;
}

v1::QuantizeRequest Request(const std::string& bundle, v1::Scheme scheme) {
  v1::QuantizeRequest request;
  request.set_checkpoint("checkpoints/tiny");
  request.set_bundle_id(bundle);
  request.mutable_spec()->set_scheme(scheme);
  return request;
}

class Serving : public ServerTest {
 protected:
  void CreateCalibration(const std::string& id) {
    grpc::ClientContext context;
    v1::CreateCalibrationRequest request;
    request.set_calibration_id(id);
    request.set_checkpoint("checkpoints/tiny");
    v1::Calibration calibration;
    ASSERT_THAT(
        calibrations_->CreateCalibration(&context, request, &calibration),
        Ok());
  }

  grpc::Status Calibrate(const std::string& id,
                         const std::vector<v1::ModelInputs>& batches,
                         v1::UploadCalibrationBatchesResponse* response) {
    grpc::ClientContext context;
    auto writer = calibrations_->UploadCalibrationBatches(&context, response);
    for (const v1::ModelInputs& batch : batches) {
      v1::UploadCalibrationBatchesRequest request;
      request.set_calibration("calibrations/" + id);
      *request.mutable_inputs() = batch;
      if (!writer->Write(request)) break;
    }
    writer->WritesDone();
    return writer->Finish();
  }

  v1::Calibration GetCalibration(const std::string& id) {
    grpc::ClientContext context;
    v1::GetCalibrationRequest request;
    request.set_name("calibrations/" + id);
    v1::Calibration calibration;
    EXPECT_THAT(calibrations_->GetCalibration(&context, request, &calibration),
                Ok());
    return calibration;
  }

  grpc::Status Forward(const std::string& model, const v1::ModelInputs& inputs,
                       v1::ForwardResponse* response) {
    grpc::ClientContext context;
    v1::ForwardRequest request;
    request.set_model("models/" + model);
    *request.mutable_inputs() = inputs;
    return inference_->Forward(&context, request, response);
  }

  std::vector<float> MustForward(const std::string& model,
                                 const v1::ModelInputs& inputs) {
    v1::ForwardResponse response;
    EXPECT_THAT(Forward(model, inputs, &response), Ok());
    return Values(response.output());
  }

  grpc::Status MatMul(const v1::MatMulRequest& request,
                      v1::MatMulResponse* response) {
    grpc::ClientContext context;
    return inference_->MatMul(&context, request, response);
  }

  grpc::Status DeleteCheckpoint(const std::string& id) {
    grpc::ClientContext context;
    v1::DeleteCheckpointRequest request;
    request.set_name("checkpoints/" + id);
    google::protobuf::Empty empty;
    return checkpoints_->DeleteCheckpoint(&context, request, &empty);
  }

  std::string Download(const std::string& id) {
    grpc::ClientContext context;
    v1::DownloadBundleRequest request;
    request.set_name("bundles/" + id);
    auto reader = bundles_->DownloadBundle(&context, request);
    std::string tar;
    v1::DownloadBundleResponse piece;
    while (reader->Read(&piece)) {
      EXPECT_EQ(piece.offset(), static_cast<int64_t>(tar.size()));
      EXPECT_EQ(piece.crc32c(), bundle::Crc32c(piece.data()));
      tar += piece.data();
    }
    EXPECT_THAT(reader->Finish(), Ok());
    return tar;
  }

  grpc::Status UploadTar(const std::string& id, const std::string& tar,
                         v1::Bundle* bundle) {
    grpc::ClientContext context;
    auto writer = bundles_->UploadBundle(&context, bundle);
    v1::UploadBundleRequest request;
    request.mutable_header()->set_bundle_id(id);
    writer->Write(request);
    for (size_t at = 0; at < tar.size(); at += 3000) {
      v1::BundleChunk* chunk = request.mutable_chunk();
      chunk->set_offset(static_cast<int64_t>(at));
      chunk->set_data(tar.substr(at, 3000));
      chunk->set_crc32c(bundle::Crc32c(chunk->data()));
      if (!writer->Write(request)) break;
    }
    writer->WritesDone();
    return writer->Finish();
  }
};

TEST_F(Serving, ACalibrationBatchCountsWholeOrNotAtAll) {
  MustUpload("tiny", Mlp());
  CreateCalibration("c");
  v1::ModelInputs bad = Rows(4, 3);
  std::vector<float> values = Values(bad.features());
  values[kMlpIn + 5] = std::numeric_limits<float>::infinity();
  *bad.mutable_features() = MakeTensor(values, 4, kMlpIn);

  v1::UploadCalibrationBatchesResponse response;
  EXPECT_THAT(Calibrate("c", {Rows(4, 1), Rows(4, 2), bad}, &response),
              Fails(StatusCode::INVALID_ARGUMENT, "batches[2].features"));
  EXPECT_EQ(GetCalibration("c").batch_count(), 2);
  EXPECT_EQ(GetCalibration("c").sample_count(), 8);

  ASSERT_THAT(Calibrate("c", {Rows(4, 4)}, &response), Ok());
  EXPECT_EQ(response.accepted_batches(), 1);
  EXPECT_EQ(response.accepted_samples(), 4);
  Restart();
  const v1::Calibration kept = GetCalibration("c");
  EXPECT_EQ(kept.batch_count(), 3);
  ASSERT_EQ(kept.layers_size(), 2);
  EXPECT_EQ(kept.layers(0).layer(), "fc1");
  EXPECT_EQ(kept.layers(0).row_count(), 12);
  int64_t in_bins = 0;
  for (const auto& bin : kept.layers(0).histogram()) in_bins += bin.count();
  EXPECT_EQ(in_bins, 12 * kMlpIn);
}

TEST_F(Serving, NamedActivationsCalibrateOneLayer) {
  MustUpload("tiny", Mlp());
  CreateCalibration("c");
  const auto send = [&](const std::string& layer) {
    grpc::ClientContext context;
    v1::UploadCalibrationBatchesResponse response;
    auto writer = calibrations_->UploadCalibrationBatches(&context, &response);
    v1::UploadCalibrationBatchesRequest request;
    request.set_calibration("calibrations/c");
    request.mutable_activations()->set_layer(layer);
    *request.mutable_activations()->mutable_rows() =
        MakeTensor(RandomValues(3 * kMlpHidden, 5), 3, kMlpHidden);
    writer->Write(request);
    writer->WritesDone();
    return writer->Finish();
  };
  EXPECT_THAT(send("fc2"), Ok());
  EXPECT_THAT(send("fc9"), Fails(StatusCode::NOT_FOUND, "fc9"));
  ASSERT_EQ(GetCalibration("c").layers_size(), 1);
  EXPECT_EQ(GetCalibration("c").layers(0).layer(), "fc2");
}

TEST_F(Serving, CalibrationsMerge) {
  MustUpload("tiny", Mlp());
  v1::UploadCalibrationBatchesResponse response;
  for (const char* id : {"a", "b"}) {
    CreateCalibration(id);
    ASSERT_THAT(Calibrate(id, {Rows(4, id[0])}, &response), Ok());
  }
  const auto merge = [&](const std::string& from, v1::Calibration* merged) {
    grpc::ClientContext context;
    v1::MergeCalibrationsRequest request;
    request.set_into("calibrations/a");
    request.add_from(from);
    return calibrations_->MergeCalibrations(&context, request, merged);
  };
  v1::Calibration merged;
  EXPECT_THAT(merge("calibrations/b", &merged), Ok());
  EXPECT_EQ(merged.sample_count(), 8);
  EXPECT_THAT(merge("calibrations/a", &merged),
              Fails(StatusCode::INVALID_ARGUMENT, "from[0]"));
  EXPECT_THAT(merge("calibrations/x", &merged),
              Fails(StatusCode::NOT_FOUND, "calibration 'x'"));
}

TEST_F(Serving, QuantizedModelsAnswerLikeTheirCheckpoint) {
  MustUpload("tiny", Mlp());
  CreateCalibration("c");
  v1::UploadCalibrationBatchesResponse response;
  ASSERT_THAT(Calibrate("c", {Rows(64, 1)}, &response), Ok());
  MustLoad("float", "checkpoints/tiny");
  const v1::ModelInputs inputs = Rows(5, 9);
  const std::vector<float> expected = MustForward("float", inputs);
  ASSERT_EQ(expected.size(), 5 * kMlpOut);

  for (const v1::Scheme scheme :
       {v1::SCHEME_W8A8_DYNAMIC, v1::SCHEME_W8A8_STATIC, v1::SCHEME_LLM_INT8}) {
    v1::QuantizeRequest request = Request("b" + std::to_string(scheme), scheme);
    request.set_calibration("calibrations/c");
    const v1::Operation done = Quantize(request);
    ASSERT_EQ(done.state(), v1::Operation::STATE_SUCCEEDED)
        << done.error().message();
    MustLoad("int8", done.bundle());
    const std::vector<float> actual = MustForward("int8", inputs);
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t i = 0; i < actual.size(); ++i) {
      EXPECT_NEAR(actual[i], expected[i], 0.2) << i;
    }
  }
}

TEST_F(Serving, PlansAreCheckedBeforeAnOperationStarts) {
  MustUpload("tiny", Mlp());
  const auto start = [&](const v1::QuantizeRequest& request) {
    grpc::ClientContext context;
    v1::Operation operation;
    return quantizations_->Quantize(&context, request, &operation);
  };
  EXPECT_THAT(start(Request("b", v1::SCHEME_W8A8_STATIC)),
              Fails(StatusCode::FAILED_PRECONDITION, ""));
  v1::QuantizeRequest pattern = Request("b", v1::SCHEME_W8A8_DYNAMIC);
  pattern.mutable_spec()->add_include("nothing.*");
  EXPECT_THAT(start(pattern), Fails(StatusCode::INVALID_ARGUMENT, "nothing"));
  EXPECT_THAT(start(Request("b", static_cast<v1::Scheme>(77))),
              Fails(StatusCode::INVALID_ARGUMENT, "spec.scheme"));
  EXPECT_THAT(start(Request("B!", v1::SCHEME_W8A8_DYNAMIC)),
              Fails(StatusCode::INVALID_ARGUMENT, "bundle_id"));
  v1::QuantizeRequest unknown = Request("b", v1::SCHEME_W8A8_DYNAMIC);
  unknown.set_checkpoint("checkpoints/other");
  EXPECT_THAT(start(unknown),
              Fails(StatusCode::NOT_FOUND, "checkpoint 'other'"));
  grpc::ClientContext context;
  v1::ListOperationsResponse list;
  EXPECT_THAT(quantizations_->ListOperations(&context, {}, &list), Ok());
  EXPECT_EQ(list.operations_size(), 0);
}

TEST_F(Serving, DoneOperationsCannotBeCancelledAndBundlesNotMadeTwice) {
  MustUpload("tiny", Mlp());
  const v1::Operation done = Quantize(Request("b", v1::SCHEME_W8A8_DYNAMIC));
  ASSERT_EQ(done.state(), v1::Operation::STATE_SUCCEEDED);
  grpc::ClientContext context;
  v1::CancelOperationRequest cancel;
  cancel.set_name(done.name());
  v1::Operation operation;
  EXPECT_THAT(quantizations_->CancelOperation(&context, cancel, &operation),
              Fails(StatusCode::FAILED_PRECONDITION, "already done"));
  grpc::ClientContext again;
  EXPECT_THAT(quantizations_->Quantize(
                  &again, Request("b", v1::SCHEME_W8A8_DYNAMIC), &operation),
              Fails(StatusCode::ALREADY_EXISTS, "bundle 'b'"));
}

TEST_F(Serving, BundlesComeBackFromTheirTar) {
  MustUpload("tiny", Bert());
  ASSERT_EQ(Quantize(Request("b", v1::SCHEME_W8A8_DYNAMIC)).state(),
            v1::Operation::STATE_SUCCEEDED);
  const std::string tar = Download("b");
  v1::Bundle copy;
  ASSERT_THAT(UploadTar("copy", tar, &copy), Ok());
  EXPECT_EQ(copy.name(), "bundles/copy");
  EXPECT_EQ(copy.layers_size(), 6);
  EXPECT_EQ(Download("copy"), tar);

  MustLoad("b", "bundles/b");
  MustLoad("copy", "bundles/copy");
  const v1::ModelInputs inputs = Tokens({{1, 2, 3}, {4, 5}});
  EXPECT_EQ(MustForward("b", inputs), MustForward("copy", inputs));

  EXPECT_THAT(UploadTar("copy", tar, &copy),
              Fails(StatusCode::ALREADY_EXISTS, "bundle 'copy'"));
  EXPECT_THAT(UploadTar("cut", tar.substr(0, tar.size() / 2), &copy),
              Fails(StatusCode::INVALID_ARGUMENT, ""));
  EXPECT_THAT(UploadTar("junk", "junk", &copy),
              Fails(StatusCode::INVALID_ARGUMENT, ""));
}

TEST_F(Serving, WhatIsInUseIsNotDeleted) {
  MustUpload("tiny", Mlp());
  MustLoad("m", "checkpoints/tiny");
  EXPECT_THAT(DeleteCheckpoint("tiny"),
              Fails(StatusCode::FAILED_PRECONDITION, "in use"));
  grpc::ClientContext context;
  v1::UnloadModelRequest unload;
  unload.set_name("models/m");
  google::protobuf::Empty empty;
  ASSERT_THAT(models_->UnloadModel(&context, unload, &empty), Ok());
  EXPECT_THAT(DeleteCheckpoint("tiny"), Ok());
}

TEST_F(Serving, LoadedModelsComeBackAfterARestart) {
  MustUpload("tiny", Mlp());
  MustLoad("m", "checkpoints/tiny");
  const std::vector<float> before = MustForward("m", Rows(3, 1));
  Restart();
  EXPECT_EQ(MustForward("m", Rows(3, 1)), before);
}

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
  request.set_layer("fc1");
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

TEST_F(Serving, AnUnknownOperationCannotBeWatched) {
  grpc::ClientContext context;
  v1::WatchOperationRequest request;
  request.set_name("operations/nope");
  auto reader = quantizations_->WatchOperation(&context, request);
  v1::Operation operation;
  EXPECT_FALSE(reader->Read(&operation));
  EXPECT_THAT(reader->Finish(),
              Fails(StatusCode::NOT_FOUND, "operation 'nope'"));
}

}  // namespace
}  // namespace octet::rpc
