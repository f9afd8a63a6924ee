// Layer normalization of rows:
//   y = (x - mean(x)) / sqrt(var(x) + epsilon) * weight + bias

#ifndef OCTET_KERNELS_FLOAT_LAYER_NORM_H_
#define OCTET_KERNELS_FLOAT_LAYER_NORM_H_

#include "absl/types/span.h"
#include "kernels/matrix_view.h"
#include "kernels/thread_pool.h"

namespace octet::kernels {

// x and y [M, N], weight and bias [N]; y may be x.
void LayerNorm(MatrixView<const float> x, absl::Span<const float> weight,
               absl::Span<const float> bias, float epsilon, MatrixView<float> y,
               ThreadPool* pool);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_FLOAT_LAYER_NORM_H_
