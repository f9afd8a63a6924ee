#include "server/quantization/methods/affine.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/rounding.h"

namespace octet::quantization {

AffineParameters AffineFromRange(float min, float max) {
  const bool usable = std::isfinite(min) && std::isfinite(max) && min <= max;
  if (!usable || (min == 0.0F && max == 0.0F)) return {};
  min = std::min(min, 0.0F);
  max = std::max(max, 0.0F);
  // In double: max - min of two finite FP32 can be beyond FP32.
  const double step = (static_cast<double>(max) - min) / 255.0;
  constexpr float kSmallestScale = std::numeric_limits<float>::min();
  AffineParameters parameters;
  parameters.scale = std::max(static_cast<float>(step), kSmallestScale);
  // By the rule of every code, so that min itself gets code 0.
  parameters.zero_point =
      -kernels::CodeOf(min, kernels::InverseScale(parameters.scale), -255, 0);
  return parameters;
}

float AbsmaxScale(float absmax) { return kernels::AbsmaxToScale(absmax); }

}  // namespace octet::quantization
