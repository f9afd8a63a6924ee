// The reference: every other kernel is tested against its int32 results.

#include <cstddef>
#include <cstdint>

#include "kernels/microkernel.h"

namespace octet::kernels {
namespace {

constexpr size_t kGroup = 4;

}  // namespace

void DotScalar1x16(const DotTile& tile) {
  uint32_t sums[kMaxTileColumns];  // unsigned: wrapping is the contract
  for (size_t c = 0; c < tile.width; ++c) {
    sums[c] = static_cast<uint32_t>(tile.seed[c]);
  }
  const int8_t* b = tile.b;
  for (size_t k = 0; k < tile.groups * kGroup; k += kGroup) {
    for (size_t c = 0; c < tile.width; ++c, b += kGroup) {
      for (size_t i = 0; i < kGroup; ++i) {
        sums[c] += static_cast<uint32_t>(tile.a[k + i] * b[i]);
      }
    }
  }
  for (size_t c = 0; c < tile.width; ++c) {
    tile.acc[c] = static_cast<int32_t>(sums[c]);
  }
}

}  // namespace octet::kernels
