// The mean error that quantization leaves in a layer's output, taken out of
// its bias (Nagel et al. 2019, section 4.2, on samples):
//
//   bias'[n] = bias[n] + mean over rows x of (W x + bias - y)[n]
//
// where y is the layer's own INT8 result for x, so that the error of weights
// and of activations both count.

#ifndef OCTET_SERVER_QUANTIZATION_METHODS_BIAS_CORRECTION_H_
#define OCTET_SERVER_QUANTIZATION_METHODS_BIAS_CORRECTION_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/int8_linear.h"
#include "kernels/matrix_view.h"
#include "kernels/thread_pool.h"

namespace octet::quantization {

// `weight` [N, K] and `bias` [N] are the float layer's; `layer` has that bias,
// too; x [R, K], R at least 1, are inputs as the layer gets them.
absl::StatusOr<std::vector<float>> CorrectedBias(
    kernels::MatrixView<const float> weight, absl::Span<const float> bias,
    const kernels::Int8Linear& layer, kernels::MatrixView<const float> x,
    kernels::ThreadPool* pool);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_METHODS_BIAS_CORRECTION_H_
