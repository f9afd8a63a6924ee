#include "kernels/quantize_rows.h"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "kernels/int8_linear.h"
#include "kernels/rounding.h"
#include "kernels/tile_ops.h"

namespace octet::kernels {
namespace {

constexpr uint32_t kInfinity = 0x7f800000;

CodeRule RuleFor(const RowCoding& coding, float scale) {
  CodeRule rule;
  rule.inverse = InverseScale(scale);
  rule.zero_byte = coding.zero_byte();
  if (coding.coding == ActivationCoding::kStaticAffine) {
    rule.low = static_cast<float>(-coding.input_zero_point);
    rule.high = static_cast<float>(255 - coding.input_zero_point);
  }
  return rule;
}

}  // namespace

QuantizedRow QuantizeRow(const TileOps& ops, const RowCoding& coding,
                         const float* x, size_t k, size_t padded_k,
                         uint8_t* codes) {
  const RowMaxima maxima = ops.row_maxima(x, k, coding.filter);
  std::memset(codes + k, coding.zero_byte(), padded_k - k);
  if (maxima.all >= kInfinity) {
    std::memset(codes, coding.zero_byte(), k);
    return {.scale = std::numeric_limits<float>::quiet_NaN()};
  }
  const float scale = coding.coding == ActivationCoding::kPerToken
                          ? AbsmaxToScale(std::bit_cast<float>(maxima.kept))
                          : coding.input_scale;
  ops.row_codes(x, k, coding.filter, RuleFor(coding, scale), codes);
  return {.scale = scale, .has_live = maxima.has_live};
}

uint32_t LiveBits(float threshold) {
  return threshold > 0.0F ? std::bit_cast<uint32_t>(threshold) : kInfinity;
}

}  // namespace octet::kernels
