// Second moments of a layer's inputs, and their factor: what error
// compensation (gptq.h) knows of the inputs.
//
//   H = X^T X / R + damping * mean(diag H) * I = L L^T,   L lower triangular
//
// Damping keeps directions that calibration did not see from being free
// (Frantar et al. 2022, section 3.3): with R < K rows H alone is singular.

#ifndef OCTET_SERVER_QUANTIZATION_METHODS_HESSIAN_H_
#define OCTET_SERVER_QUANTIZATION_METHODS_HESSIAN_H_

#include <cstddef>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/matrix_view.h"
#include "kernels/thread_pool.h"

namespace octet::quantization {

// H of the rows of x [R, K], R at least 1, damped: [K, K]. `pool` may be
// nullptr. FAILED_PRECONDITION where nothing but zeros was seen, which says
// nothing about any direction, or a moment leaves FP32.
absl::StatusOr<std::vector<float>> DampedHessian(
    kernels::MatrixView<const float> x, float damping,
    kernels::ThreadPool* pool);

// The lower triangle of `a` [K, K] becomes that of its Cholesky factor; what
// is above is left as it was. By blocks of columns: each block is factored in
// double, what is right of it is updated by one FP32 product.
// FAILED_PRECONDITION naming the column where `a` is not positive definite;
// CANCELLED within one block's work. `cancelled` may be empty.
absl::Status Cholesky(kernels::MatrixView<float> a, kernels::ThreadPool* pool,
                      const std::function<bool()>& cancelled = {});

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_METHODS_HESSIAN_H_
