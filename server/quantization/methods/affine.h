// Scales and zero points. Rounding is half to even; scales are FP32; a code is
// computed with the stored scale, by the rule of kernels/rounding.h.
//
//   weights      s  = max|W| / 127
//                q  = clip(round(w / s), -127, 127)
//   activations  s  = (max - min) / 255
//                zp = clamp(-round(min / s), 0, 255)
//                q  = clamp(round(x / s) + zp, 0, 255)

#ifndef OCTET_SERVER_QUANTIZATION_METHODS_AFFINE_H_
#define OCTET_SERVER_QUANTIZATION_METHODS_AFFINE_H_

#include <cstdint>

namespace octet::quantization {

struct AffineParameters {
  float scale = 1.0F;
  int32_t zero_point = 0;  // in [0, 255]

  friend bool operator==(const AffineParameters&,
                         const AffineParameters&) = default;
};

// The range is widened to include 0. A range of nothing but zeros, an empty
// one (min > max) and one that is not finite give scale 1 and zero point 0;
// the scale is never below the smallest normal FP32.
AffineParameters AffineFromRange(float min, float max);

// 1 for an all-zero channel; never below the smallest normal FP32.
float AbsmaxScale(float absmax);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_METHODS_AFFINE_H_
