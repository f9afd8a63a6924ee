// Forward and MatMul on loaded models.

#ifndef OCTET_CLIENT_LIB_INFERENCE_H_
#define OCTET_CLIENT_LIB_INFERENCE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "client/lib/connection.h"

namespace octet::client {

// A dense row-major float matrix.
struct Matrix {
  int64_t rows = 0;
  int64_t columns = 0;
  std::vector<float> values;
};

// `request.model` may be a bare id.
absl::StatusOr<v1::ForwardResponse> Forward(Connection& connection,
                                            v1::ForwardRequest request);
absl::StatusOr<v1::MatMulResponse> MatMul(Connection& connection,
                                          v1::MatMulRequest request);

v1::Tensor ToTensor(const Matrix& matrix);
// DATA_LOSS unless it is F32, two-dimensional and has the bytes of its shape.
absl::StatusOr<Matrix> ToMatrix(const v1::Tensor& tensor);

}  // namespace octet::client

#endif  // OCTET_CLIENT_LIB_INFERENCE_H_
