// A linear layer of random weights with rows of its input, and every plan for
// one.

#ifndef OCTET_TESTS_SERVER_QUANTIZATION_SMALL_LAYER_H_
#define OCTET_TESTS_SERVER_QUANTIZATION_SMALL_LAYER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/matrix_view.h"
#include "kernels/thread_pool.h"
#include "server/quantization/calibration/layer_samples.h"
#include "server/quantization/methods/layer_plan.h"
#include "server/quantization/methods/layer_quantizer.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {

inline constexpr size_t kSampleRows = 40;

struct SmallLayer {
  size_t n;
  size_t k;
  std::vector<float> weight;
  std::vector<float> bias;
  std::vector<float> x;  // [kSampleRows, k]

  SmallLayer(size_t n, size_t k, uint32_t seed)
      : n(n),
        k(k),
        weight(RandomValues(n * k, seed, 0.1F)),
        bias(RandomValues(n, seed + 1)),
        x(RandomValues(kSampleRows * k, seed + 2)) {}
  kernels::MatrixView<const float> view() const {
    return {weight.data(), n, k};
  }
  kernels::MatrixView<const float> rows() const {
    return {x.data(), kSampleRows, k};
  }
  LayerSamples samples() const {
    LayerSamples samples;
    samples.rows = rows();
    return samples;
  }
};

// Fitted to the layer's own rows; the tensor is called "fc.weight".
absl::StatusOr<QuantizedLayer> Quantized(const SmallLayer& layer,
                                         const LayerPlan& plan,
                                         kernels::ThreadPool* pool = nullptr);

// Every method that fits K columns, alone and with the others.
std::vector<LayerPlan> Plans(size_t k);

std::string Describe(const LayerPlan& plan, const SmallLayer& layer);

}  // namespace octet::quantization

#endif  // OCTET_TESTS_SERVER_QUANTIZATION_SMALL_LAYER_H_
