// What stands between a layer's input and its codes, on rows of x and on the
// weights that meet them:
//
//   x'[k] = x[k] * inverse_smoothing[k],  outlier columns 0,  rotated by blocks
//   W'[k] = W[k] / inverse_smoothing[k],  outlier columns 0,  rotated by blocks
//
// so that x' W'^T + x_out W_out^T = x W^T up to rounding: smoothing cancels
// (SmoothQuant, Xiao et al. 2022) and the rotation is orthonormal
// (kernels/hadamard.h). The order is that of kernels/quantize_rows.h, which
// does the same to x at run time.

#ifndef OCTET_SERVER_QUANTIZATION_METHODS_INPUT_TRANSFORM_H_
#define OCTET_SERVER_QUANTIZATION_METHODS_INPUT_TRANSFORM_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/matrix_view.h"
#include "server/quantization/methods/layer_plan.h"

namespace octet::quantization {

struct InputTransform {
  explicit InputTransform(const LayerPlan& plan);

  bool is_identity() const {
    return inverse_smoothing.empty() && outlier_columns.empty() &&
           hadamard_block == 0;
  }
  // In place; `rows` has the layer's K columns.
  void ApplyToInputs(kernels::MatrixView<float> rows) const;
  void ApplyToWeights(kernels::MatrixView<float> rows) const;

  std::vector<float> inverse_smoothing;       // FP32, as it is stored; or empty
  absl::Span<const int32_t> outlier_columns;  // the plan's
  size_t hadamard_block = 0;
};

// The rows of x as `plan` has them coded, [rows, K]: what a static range is of.
std::vector<float> TransformedInputs(const LayerPlan& plan,
                                     kernels::MatrixView<const float> x);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_METHODS_INPUT_TRANSFORM_H_
