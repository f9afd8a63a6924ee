// One linear layer from float weights to everything that a bundle stores of
// it. Nothing is decided here: the plan says how.
//
//   W'[n,k] = W[n,k] * smoothing[k], outlier columns zero, rotated by blocks
//   s[n,g]  = max |W'[n, k in g]| / 127
//   q[n,k]  = round(W'[n,k] / s[n,g])        to nearest, or as gptq.h
//   bias'   = bias + mean over samples of (W x + bias - y), y as it is served
//
// Memory above weights and codes: a few rows, and for kGptq up to
// kMaxHessianColumns x K floats (gptq.h).

#ifndef OCTET_SERVER_QUANTIZATION_METHODS_LAYER_QUANTIZER_H_
#define OCTET_SERVER_QUANTIZATION_METHODS_LAYER_QUANTIZER_H_

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/int8_linear.h"
#include "kernels/matrix_view.h"
#include "kernels/thread_pool.h"
#include "server/quantization/methods/compensations.h"
#include "server/quantization/methods/layer_plan.h"

namespace octet::quantization {

struct LayerSamples;  // layer_samples.h

struct QuantizedLayer {
  std::vector<int8_t> codes;              // [N, K]
  std::vector<float> scales;              // [N], or [N, G] by rows
  std::vector<float> bias;                // [N] where corrected, or empty
  std::vector<int32_t> outlier_columns;   // [C]
  std::vector<uint16_t> outlier_weights;  // FP16 bits [C, N], smoothed
  std::vector<float> inverse_smoothing;   // [K]; empty without, or folded
  size_t zero_channels = 0;               // rows of W that are all zero
};

// `name` is the weight tensor's, for messages; `weight` may be some rows of it,
// with their `bias`, or none. Samples are of x before any smoothing, folded or
// not. Rows are quantized in parallel; the result does not depend on it.
// `shared` is of layers and blocks that may need the same compensation; it and
// `pool` may be nullptr. Errors: INVALID_ARGUMENT for a weight that is not
// finite or, in an outlier column, beyond FP16, and for a plan that does not
// fit the shape; FAILED_PRECONDITION where samples are needed and there are
// none.
absl::StatusOr<QuantizedLayer> QuantizeLayer(
    std::string_view name, kernels::MatrixView<const float> weight,
    absl::Span<const float> bias, const LayerPlan& plan,
    const LayerSamples& samples, kernels::ThreadPool* pool,
    Compensations* shared = nullptr);

// The layer as kernels::Int8Linear takes it, with this bias. It points into
// its arguments.
kernels::Int8LinearSpec SpecOf(const LayerPlan& plan,
                               const QuantizedLayer& layer, size_t n, size_t k,
                               absl::Span<const float> bias);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_METHODS_LAYER_QUANTIZER_H_
