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

#ifndef OCTET_SERVER_QUANTIZATION_LAYER_PLAN_H_
#define OCTET_SERVER_QUANTIZATION_LAYER_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "server/model/scheme.h"
#include "server/quantization/affine.h"

namespace octet::quantization {

enum class Rounding : uint8_t {
  kNearest,
  kGptq,  // compensates each weight's error in those after it (gptq.h)
};

// Layers that read the same value must agree in everything but `scheme.scheme`
// of a float layer, `rounding`, `bias_correction` and `reason`.
struct LayerPlan {
  model::LinearScheme scheme;
  AffineParameters input;                // kW8A8Static
  std::vector<int32_t> outlier_columns;  // kLlmInt8: sorted
  std::vector<float> smoothing;          // [K], x is divided by it; or empty
  float smoothing_alpha = -1.0F;         // it was made with; < 0: there is none
  Rounding rounding = Rounding::kNearest;
  bool bias_correction = false;  // for a layer that has a bias
  std::string reason;            // "" or why it stays float
};

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_LAYER_PLAN_H_
