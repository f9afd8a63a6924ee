#include "client/lib/inference.h"

#include <bit>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace octet::client {

// Tensors are little-endian on the wire and copied as they are.
static_assert(std::endian::native == std::endian::little);

absl::StatusOr<v1::ForwardResponse> Forward(Connection& connection,
                                            v1::ForwardRequest request) {
  request.set_model(ResourceName("models", request.model()));
  return Unary(connection, connection.inference(),
               &v1::InferenceService::Stub::Forward, request);
}

absl::StatusOr<v1::MatMulResponse> MatMul(Connection& connection,
                                          v1::MatMulRequest request) {
  request.set_model(ResourceName("models", request.model()));
  return Unary(connection, connection.inference(),
               &v1::InferenceService::Stub::MatMul, request);
}

MatMulStream::MatMulStream(Connection& connection)
    : call_(connection),
      stream_(connection.inference().StreamMatMul(&call_.context())) {}

bool MatMulStream::Send(v1::MatMulRequest request) {
  request.set_model(ResourceName("models", request.model()));
  v1::StreamMatMulRequest message;
  *message.mutable_request() = std::move(request);
  return stream_->Write(message);
}

void MatMulStream::SendingDone() { stream_->WritesDone(); }

bool MatMulStream::Receive(absl::StatusOr<v1::MatMulResponse>* response) {
  v1::StreamMatMulResponse message;
  if (!stream_->Read(&message)) return false;
  if (message.has_status()) {
    *response = FromProto(message.status());
  } else {
    *response = std::move(*message.mutable_response());
  }
  return true;
}

absl::Status MatMulStream::Finish() { return FromGrpc(stream_->Finish()); }

v1::Tensor ToTensor(const Matrix& matrix) {
  v1::Tensor tensor;
  tensor.set_type(v1::DATA_TYPE_F32);
  tensor.add_shape(matrix.rows);
  tensor.add_shape(matrix.columns);
  tensor.set_data(matrix.values.data(), matrix.values.size() * sizeof(float));
  return tensor;
}

absl::StatusOr<Matrix> ToMatrix(const v1::Tensor& tensor) {
  if (tensor.type() != v1::DATA_TYPE_F32 || tensor.shape_size() != 2 ||
      tensor.shape(0) < 0 || tensor.shape(1) < 0) {
    return absl::DataLossError("the answer is not an F32 matrix");
  }
  Matrix matrix{tensor.shape(0), tensor.shape(1), {}};
  const size_t have = tensor.data().size() / sizeof(float);
  // Compared by division, so that no product can overflow.
  const bool fits = tensor.data().size() % sizeof(float) == 0 &&
                    (matrix.columns == 0 || matrix.rows == 0
                         ? have == 0
                         : have % static_cast<size_t>(matrix.columns) == 0 &&
                               have / static_cast<size_t>(matrix.columns) ==
                                   static_cast<size_t>(matrix.rows));
  if (!fits) {
    return absl::DataLossError(absl::StrCat(
        "the answer has ", tensor.data().size(), " bytes; its shape is [",
        matrix.rows, ", ", matrix.columns, "]"));
  }
  matrix.values.resize(have);
  if (have > 0) {
    std::memcpy(matrix.values.data(), tensor.data().data(),
                tensor.data().size());
  }
  return matrix;
}

}  // namespace octet::client
