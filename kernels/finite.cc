#include "kernels/finite.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/types/span.h"

namespace octet::kernels {
namespace {

constexpr size_t kBlock = 1024;  // a block's verdict is one vectorizable sum

// Whole blocks are judged without a branch per value; the index is looked for
// only in the block that has one.
template <typename T, typename NonFinite>
std::optional<size_t> FirstIn(absl::Span<const T> values,
                              NonFinite non_finite) {
  for (size_t begin = 0; begin < values.size(); begin += kBlock) {
    const absl::Span<const T> block = values.subspan(begin, kBlock);
    uint32_t bad = 0;
    for (const T value : block) bad += non_finite(value) ? 1 : 0;
    if (bad == 0) continue;
    const auto* found = std::find_if(block.begin(), block.end(), non_finite);
    return begin + static_cast<size_t>(found - block.begin());
  }
  return std::nullopt;
}

}  // namespace

std::optional<size_t> FirstNonFinite(absl::Span<const float> values) {
  return FirstIn(values, [](float value) {
    return (std::bit_cast<uint32_t>(value) & 0x7f800000) == 0x7f800000;
  });
}

std::optional<size_t> FirstNonFiniteFp16(absl::Span<const uint16_t> bits) {
  return FirstIn(bits, [](uint16_t b) { return (b & 0x7c00) == 0x7c00; });
}

std::optional<size_t> FirstNonFiniteBf16(absl::Span<const uint16_t> bits) {
  return FirstIn(bits, [](uint16_t b) { return (b & 0x7f80) == 0x7f80; });
}

}  // namespace octet::kernels
