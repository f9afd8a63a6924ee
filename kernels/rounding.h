// The one rule by which a float becomes a code.
//
//   inverse = 1 / max(scale, 2^-126)              once per scale, in FP32
//   code(x) = round_half_even(x * inverse)        the product rounded to FP32
//
// Every kernel, and everyone who compares with one, computes codes so: the
// multiplication differs from a division in the last bit now and then, and
// codes have to be bit-equal everywhere.

#ifndef OCTET_KERNELS_ROUNDING_H_
#define OCTET_KERNELS_ROUNDING_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace octet::kernels {

inline float InverseScale(float scale) {
  return 1.0F / std::max(scale, std::numeric_limits<float>::min());
}

// max|x| / 127 of a row or a channel. 1 where everything is zero; floored at
// the smallest normal FP32, so that its inverse is finite.
inline float AbsmaxToScale(float absmax) {
  if (absmax == 0.0F) return 1.0F;
  return std::max(absmax / 127.0F, std::numeric_limits<float>::min());
}

// Clamped before rounding, which is the same for whole bounds and keeps any
// product, however large, inside int32. x must not be NaN.
inline int32_t CodeOf(float x, float inverse_scale, int32_t low, int32_t high) {
  const float scaled = std::clamp(x * inverse_scale, static_cast<float>(low),
                                  static_cast<float>(high));
  return static_cast<int32_t>(std::nearbyint(scaled));
}

// Symmetric codes of weights and per-token activations.
inline int32_t SymmetricCode(float x, float inverse_scale) {
  return CodeOf(x, inverse_scale, -127, 127);
}

// Affine codes of static activations: u8 with a zero point in [0, 255].
inline int32_t AffineCode(float x, float inverse_scale, int32_t zero_point) {
  return CodeOf(x, inverse_scale, -zero_point, 255 - zero_point) + zero_point;
}

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_ROUNDING_H_
