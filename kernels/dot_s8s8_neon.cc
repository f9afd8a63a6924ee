// s8 x s8 on plain NEON, exactly: products are 16 bits wide (smull) and summed
// in pairs into 32 (sadalp). Adding two products in 16 bits first (smlal)
// would be faster and overflows at (-128)(-128) twice.

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/microkernel.h"

namespace octet::kernels {
namespace {

// 6 x 8: 24 accumulators + 2 weights + 1 broadcast + products < 32 registers.
constexpr size_t kMaxRows = 6;
constexpr size_t kMaxColumns = 8;
constexpr size_t kGroup = 4;
constexpr size_t kLanes = 4;

inline __attribute__((always_inline)) int8x16_t
BroadcastGroup(const uint8_t* a) {
  uint32_t codes = 0;
  std::memcpy(&codes, a, sizeof(codes));
  return vreinterpretq_s8_u32(vdupq_n_u32(codes));
}

// Four columns are two accumulators: columns 0-1 and 2-3, each as pairs of
// k 0-1 and k 2-3.
template <size_t kRows, size_t kVectors>
void Dot(const DotTile& tile) {
  int32x4_t low[kRows][kVectors];
  int32x4_t high[kRows][kVectors];
#pragma GCC unroll 6
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (size_t v = 0; v < kVectors; ++v) {
      low[r][v] = vdupq_n_s32(0);
      high[r][v] = vdupq_n_s32(0);
    }
  }
  const uint8_t* a = tile.a;
  const int8_t* b = tile.b;
  for (size_t g = 0; g < tile.groups; ++g) {
    int8x16_t weights[kVectors];
#pragma GCC unroll 2
    for (size_t v = 0; v < kVectors; ++v) {
      weights[v] = vld1q_s8(b + v * kLanes * kGroup);
    }
#pragma GCC unroll 6
    for (size_t r = 0; r < kRows; ++r) {
      const int8x16_t codes = BroadcastGroup(a + r * tile.a_stride);
#pragma GCC unroll 2
      for (size_t v = 0; v < kVectors; ++v) {
        low[r][v] = vpadalq_s16(
            low[r][v], vmull_s8(vget_low_s8(codes), vget_low_s8(weights[v])));
        high[r][v] = vpadalq_s16(high[r][v], vmull_high_s8(codes, weights[v]));
      }
    }
    a += kGroup;
    b += kVectors * kLanes * kGroup;
  }
#pragma GCC unroll 6
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (size_t v = 0; v < kVectors; ++v) {
      const int32x4_t seed =
          vld1q_s32(tile.seed + r * tile.seed_stride + v * kLanes);
      vst1q_s32(tile.acc + r * kMaxTileColumns + v * kLanes,
                vaddq_s32(seed, vpaddq_s32(low[r][v], high[r][v])));
    }
  }
}

// [rows - 1][width / 4 - 1]
constexpr DotFunction kTiles[kMaxRows][kMaxColumns / kLanes] = {
    {Dot<1, 1>, Dot<1, 2>}, {Dot<2, 1>, Dot<2, 2>}, {Dot<3, 1>, Dot<3, 2>},
    {Dot<4, 1>, Dot<4, 2>}, {Dot<5, 1>, Dot<5, 2>}, {Dot<6, 1>, Dot<6, 2>},
};

}  // namespace

void DotS8S8Neon_6x8(const DotTile& tile) {
  kTiles[tile.rows - 1][tile.width / kLanes - 1](tile);
}

}  // namespace octet::kernels
