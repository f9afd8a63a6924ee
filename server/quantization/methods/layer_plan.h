// How one linear layer is quantized: what the planner decides, and everything
// the quantizer needs to know beside weights and samples.
//
// What stands between x and its codes, in this order (kernels/int8_linear.h):
//
//   v = x / smoothing       SmoothQuant (Xiao et al. 2022)
//   v without the outlier columns, which stay FP16 (LLM.int8)
//   v rotated by blocks     Hadamard (QuaRot, Ashkboos et al. 2024)
//
// Weights are of that v: W * smoothing, rotated. Static scale and zero point
// are of it, too.

#ifndef OCTET_SERVER_QUANTIZATION_METHODS_LAYER_PLAN_H_
#define OCTET_SERVER_QUANTIZATION_METHODS_LAYER_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "server/model/scheme.h"
#include "server/quantization/methods/affine.h"
#include "server/quantization/methods/calibrators.h"

namespace octet::quantization {

enum class Rounding : uint8_t {
  kNearest,
  kGptq,  // compensates each weight's error in those after it (gptq.h)
};

// Layers that read the same value must agree in everything but `scheme.scheme`
// of a float layer, `rounding`, `bias_correction` and `reason`.
struct LayerPlan {
  model::LinearScheme scheme;
  AffineParameters input;                       // kW8A8Static
  Calibrator calibrator = Calibrator::kMinMax;  // that chose its range,
  double percentile = kDefaultPercentile;       // with this if it needs one
  std::vector<int32_t> outlier_columns;         // kLlmInt8: sorted
  // [K], x is divided by it; or empty. By what makes x, and not by the layer,
  // where `scheme.smoothed` is not set.
  std::vector<float> smoothing;
  float smoothing_alpha = -1.0F;      // it was made with; < 0: there is none
  std::string smoothing_folded_into;  // layer that divides x; "": this one does
  Rounding rounding = Rounding::kNearest;
  bool bias_correction = false;  // for a layer that has a bias
  std::string reason;            // "" or why it stays float
};

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_METHODS_LAYER_PLAN_H_
