// Rounding in which the weights that follow make up for the error of those
// before (GPTQ, Frantar et al. 2022).
//
//   q = argmin |(w - s q) X^T|^2 = argmin |R (w - s q)|^2,  H = R^T R
//
// with R upper triangular, greedily from the last column to the first, as in
// Babai's nearest plane, which GPTQ is in another order (Chen et al. 2025):
//
//   c[j] = w[j] + sum_{k > j} R[j,k] / R[j,j] * (w[k] - s[k] q[k])
//   q[j] = clip(round_half_even(c[j] / s[j]), -127, 127)
//
// H is that of hessian.h, in the space of the codes: after smoothing, outliers
// and rotation. Columns of larger moments are coded first, while others can
// still make up for them. Beyond kMaxHessianColumns columns H is taken block by
// block on its diagonal, which bounds memory: errors then stay in their block.

#ifndef OCTET_SERVER_QUANTIZATION_METHODS_GPTQ_H_
#define OCTET_SERVER_QUANTIZATION_METHODS_GPTQ_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/matrix_view.h"
#include "kernels/thread_pool.h"

namespace octet::quantization {

inline constexpr size_t kMaxHessianColumns = 4096;  // 64 MiB of floats
inline constexpr float kGptqDamping = 0.01F;        // the paper's

class ErrorCompensation {
 public:
  // From sample rows [R, K]. Errors: those of hessian.h, beginning with the
  // range of columns where there are several; CANCELLED within one block's work
  // of `cancelled`, which may be empty, saying true. Round asks it, too.
  static absl::StatusOr<ErrorCompensation> Create(
      kernels::MatrixView<const float> samples, float damping,
      kernels::ThreadPool* pool, std::function<bool()> cancelled = {});

  // Codes of weights [N, K] whose scales, [N, K / group_size rounded up] by
  // rows or [N], are given. Rows do not depend on each other; memory is
  // another [N, K], so that a caller brings some hundred rows at a time.
  absl::Status Round(kernels::MatrixView<const float> weights,
                     absl::Span<const float> scales, size_t group_size,
                     kernels::ThreadPool* pool, int8_t* codes) const;

 private:
  // Columns that know of each other, in the order they are coded: back to
  // front.
  struct Block {
    std::vector<size_t> columns;  // of the layer
    std::vector<float> factor;    // R[j,k] / R[j,j], [columns, columns]
  };
  struct Stripe;

  absl::Status AddBlock(kernels::MatrixView<const float> samples, size_t begin,
                        float damping, kernels::ThreadPool* pool);
  absl::Status RoundBlock(const Block& block, Stripe& stripe,
                          kernels::ThreadPool* pool) const;
  absl::Status CheckCancelled() const;

  std::function<bool()> cancelled_;
  std::vector<Block> blocks_;
};

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_METHODS_GPTQ_H_
