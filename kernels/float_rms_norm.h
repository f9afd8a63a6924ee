// Root mean square normalization of rows (Zhang and Sennrich 2019):
//   y = x / sqrt(mean(x^2) + epsilon) * weight

#ifndef OCTET_KERNELS_FLOAT_RMS_NORM_H_
#define OCTET_KERNELS_FLOAT_RMS_NORM_H_

#include "absl/types/span.h"
#include "kernels/matrix_view.h"
#include "kernels/thread_pool.h"

namespace octet::kernels {

// x and y [M, N], weight [N]; y may be x.
void RmsNorm(MatrixView<const float> x, absl::Span<const float> weight,
             float epsilon, MatrixView<float> y, ThreadPool* pool);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_FLOAT_RMS_NORM_H_
