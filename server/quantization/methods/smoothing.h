// SmoothQuant (Xiao et al. 2022): the difficulty of inputs moved into weights.
//
//   s[j] = max|X[:,j]|^alpha / max|W[:,j]|^(1 - alpha)
//   y = (X / s) (W * s)^T
//
// with the largest weight over all layers that read the input, which share s.
// A wrong alpha is worse than none (MiniLM, static: 0.77 mean cosine at 0.3,
// 0.998 at 0.85), so that it is searched per input against the true output
// error of the layers, quantized as they will be.

#ifndef OCTET_SERVER_QUANTIZATION_METHODS_SMOOTHING_H_
#define OCTET_SERVER_QUANTIZATION_METHODS_SMOOTHING_H_

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/matrix_view.h"
#include "kernels/thread_pool.h"
#include "server/quantization/methods/layer_plan.h"
#include "server/quantization/methods/shared_weights.h"

namespace octet::quantization {

// [K] factors of columns whose largest |x| and |W| are given, each a finite
// positive number between 2^-20 and 2^20. A column that no sample uses, or no
// weight, keeps 1.
std::vector<float> SmoothingFactors(absl::Span<const float> input_absmax,
                                    absl::Span<const float> weight_absmax,
                                    float alpha);

// More rows cost as much more time, and do not change the choice by more than a
// step or two of alpha.
inline constexpr size_t kSmoothingRows = 512;

struct SmoothingChoice {
  float alpha = 0.0F;
  std::vector<float> factors;
  // sum (y - y_int8)^2 / sum y^2 without bias, the mean over the layers.
  double error = 0.0;
};

// Tries alphas 0, 0.1, .. 1, then those 0.05 beside the best, on the first
// kSmoothingRows sample rows of x [R, K], which are in random order. `plan` is
// that of the layers but for the smoothing: its scheme, groups, rotation,
// outliers; trials round to nearest, and a static range is the extremes of the
// transformed rows. Errors: FAILED_PRECONDITION without rows; those of
// QuantizeLayer.
absl::StatusOr<SmoothingChoice> SearchSmoothing(
    absl::Span<const float> input_absmax, const SharedWeights& weights,
    const LayerPlan& plan, kernels::MatrixView<const float> x,
    kernels::ThreadPool* pool);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_METHODS_SMOOTHING_H_
