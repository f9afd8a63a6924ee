#include "kernels/half.h"

#include <bit>
#include <cmath>
#include <cstdint>

namespace octet::kernels {
namespace {

constexpr uint32_t kFloatInfinity = 0x7f800000;
constexpr uint32_t kFp16Overflow = 0x477ff000;  // 65520: rounds up to 2^16
constexpr uint32_t kFp16SmallestNormal = 0x38800000;  // 2^-14

}  // namespace

float Fp16ToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1f;
  const uint32_t fraction = bits & 0x3ff;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24, exact in FP32
    const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
  }
  if (exponent == 0x1f) {  // the quiet bit is set, as hardware does it
    const uint32_t quiet = fraction == 0 ? 0 : 0x00400000;
    return std::bit_cast<float>(sign | kFloatInfinity | quiet | fraction << 13);
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

uint16_t FloatToFp16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000;
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > kFloatInfinity) {  // NaN keeps its upper payload, quiet
    return static_cast<uint16_t>(sign | 0x7e00 | ((magnitude >> 13) & 0x1ff));
  }
  if (magnitude >= kFp16Overflow) return static_cast<uint16_t>(sign | 0x7c00);
  if (magnitude < kFp16SmallestNormal) {
    // Adding 0.5 puts the subnormal's last bit, 2^-24, at the last bit of an
    // FP32 in [0.5, 1): the addition rounds half to even for us.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    return static_cast<uint16_t>(
        sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000));
  }
  const uint32_t odd = (magnitude >> 13) & 1;
  const uint32_t rounded = (magnitude + 0xfff + odd - (112U << 23)) >> 13;
  return static_cast<uint16_t>(sign | rounded);
}

float Bf16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

uint16_t FloatToBf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>(bits >> 16 | 0x40);
  const uint32_t odd = (bits >> 16) & 1;
  return static_cast<uint16_t>((bits + 0x7fff + odd) >> 16);
}

}  // namespace octet::kernels
