#include "client/lib/inference.h"

#include <limits>
#include <string>
#include <utility>

#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"

namespace octet::client {
namespace {

v1::Tensor Tensor(int64_t rows, int64_t columns, size_t bytes) {
  v1::Tensor tensor;
  tensor.set_type(v1::DATA_TYPE_F32);
  tensor.add_shape(rows);
  tensor.add_shape(columns);
  tensor.set_data(std::string(bytes, '\0'));
  return tensor;
}

TEST(Tensors, MatrixSurvivesTheWayToTheWireAndBack) {
  const Matrix matrix{2, 3, {1, -2, 3.5f, 0, 1e-30f, 6}};
  const v1::Tensor tensor = ToTensor(matrix);
  EXPECT_EQ(tensor.data().size(), 24u);
  const auto back = ToMatrix(tensor);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->rows, 2);
  EXPECT_EQ(back->columns, 3);
  EXPECT_EQ(back->values, matrix.values);
}

TEST(Tensors, AShapeThatDoesNotFitItsBytesIsRefused) {
  EXPECT_TRUE(ToMatrix(Tensor(0, 3, 0)).ok());
  EXPECT_TRUE(ToMatrix(Tensor(2, 2, 16)).ok());
  const int64_t huge = std::numeric_limits<int64_t>::max();
  for (const auto& tensor :
       {Tensor(2, 2, 12), Tensor(2, 2, 15), Tensor(0, 3, 4), Tensor(-1, 3, 0),
        Tensor(huge, 4, 16), Tensor(huge, huge, 4)}) {
    EXPECT_TRUE(absl::IsDataLoss(ToMatrix(tensor).status()))
        << tensor.ShortDebugString();
  }
  v1::Tensor half = Tensor(2, 2, 8);
  half.set_type(v1::DATA_TYPE_F16);
  EXPECT_FALSE(ToMatrix(half).ok());
}

// Answers with as many rows as it got; refuses layers that are "wrong".
class Echo final : public v1::InferenceService::Service {
  grpc::Status StreamMatMul(
      grpc::ServerContext* /*context*/,
      grpc::ServerReaderWriter<v1::StreamMatMulResponse,
                               v1::StreamMatMulRequest>* stream) override {
    v1::StreamMatMulRequest request;
    while (stream->Read(&request)) {
      EXPECT_EQ(request.request().model(), "models/m");
      v1::StreamMatMulResponse response;
      if (request.request().layer() == "wrong") {
        response.mutable_status()->set_code(grpc::StatusCode::NOT_FOUND);
        response.mutable_status()->set_message("layer 'wrong'");
      } else {
        *response.mutable_response()->mutable_y() = request.request().x();
      }
      stream->Write(response);
    }
    return grpc::Status::OK;
  }
};

TEST(MatMulStream, GivesAnswersAndErrorsInOrder) {
  Echo service;
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                           &port);
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  const auto connection =
      Connection::Open({.server = "127.0.0.1:" + std::to_string(port)});

  MatMulStream stream(*connection);
  for (const char* layer : {"a", "wrong", "b"}) {
    v1::MatMulRequest request;
    request.set_model("m");
    request.set_layer(layer);
    *request.mutable_x() = Tensor(2, 1, 8);
    EXPECT_TRUE(stream.Send(std::move(request)));
  }
  stream.SendingDone();
  absl::StatusOr<v1::MatMulResponse> response;
  for (const bool good : {true, false, true}) {
    ASSERT_TRUE(stream.Receive(&response));
    EXPECT_EQ(response.ok(), good) << response.status();
    if (good) {
      EXPECT_EQ(response->y().shape(0), 2);
    } else {
      EXPECT_TRUE(absl::IsNotFound(response.status()));
    }
  }
  EXPECT_FALSE(stream.Receive(&response));
  EXPECT_TRUE(stream.Finish().ok());
  server->Shutdown();
}

}  // namespace
}  // namespace octet::client
