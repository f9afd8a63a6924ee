// s8 x s8 with sdot by lane: four columns of weights times the four codes of
// one group of a row, summed into 32 bits.
//
// 6 x 16: 24 accumulators + 6 registers of codes (four groups of each row)
// + 2 weights = 32. 8 x 12 has as many accumulators, but its eight rows of
// codes would not fit beside them.

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/microkernel.h"

namespace octet::kernels {
namespace {

constexpr size_t kMaxRows = 6;
constexpr size_t kMaxColumns = 16;
constexpr size_t kGroup = 4;
constexpr size_t kLanes = 4;
constexpr size_t kBlock = 4;  // groups in a register of codes

// Few rows have few accumulators: several chains along K hide the latency of
// sdot (3 to 4 cycles at two or four per cycle).
constexpr size_t Chains(size_t rows) {
  return rows == 1 ? 4 : rows == 2 ? 2 : 1;
}

inline __attribute__((always_inline)) int8x16_t
BroadcastGroup(const uint8_t* a) {
  uint32_t codes = 0;
  std::memcpy(&codes, a, sizeof(codes));
  return vreinterpretq_s8_u32(vdupq_n_u32(codes));
}

// The weights of one group times lane kLane of each row's codes.
template <size_t kLane, size_t kRows, size_t kVectors>
inline __attribute__((always_inline)) void Step(
    int32x4_t (&sums)[kRows][kVectors], const int8x16_t (&codes)[kRows],
    const int8_t* b) {
#pragma GCC unroll 4
  for (size_t v = 0; v < kVectors; ++v) {
    const int8x16_t weights = vld1q_s8(b + v * kLanes * kGroup);
#pragma GCC unroll 6
    for (size_t r = 0; r < kRows; ++r) {
      sums[r][v] = vdotq_laneq_s32(sums[r][v], weights, codes[r], kLane);
    }
  }
}

template <size_t kRows, size_t kVectors>
void Dot(const DotTile& tile) {
  constexpr size_t kChains = Chains(kRows);
  constexpr size_t kStride = kVectors * kLanes * kGroup;
  int32x4_t sums[kChains][kRows][kVectors];
#pragma GCC unroll 6
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) {
      sums[0][r][v] = vld1q_s32(tile.seed + r * tile.seed_stride + v * kLanes);
#pragma GCC unroll 4
      for (size_t i = 1; i < kChains; ++i) sums[i][r][v] = vdupq_n_s32(0);
    }
  }
  const uint8_t* a = tile.a;
  const int8_t* b = tile.b;
  int8x16_t codes[kRows];
  size_t g = 0;
  for (; g + kBlock <= tile.groups; g += kBlock) {
#pragma GCC unroll 6
    for (size_t r = 0; r < kRows; ++r) {
      codes[r] = vreinterpretq_s8_u8(vld1q_u8(a + r * tile.a_stride));
    }
    Step<0>(sums[0], codes, b);
    Step<1>(sums[1 % kChains], codes, b + kStride);
    Step<2>(sums[2 % kChains], codes, b + 2 * kStride);
    Step<3>(sums[3 % kChains], codes, b + 3 * kStride);
    a += kBlock * kGroup;
    b += kBlock * kStride;
  }
  for (; g < tile.groups; ++g, a += kGroup, b += kStride) {
#pragma GCC unroll 6
    for (size_t r = 0; r < kRows; ++r) {
      codes[r] = BroadcastGroup(a + r * tile.a_stride);
    }
    Step<0>(sums[0], codes, b);
  }
#pragma GCC unroll 6
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) {
#pragma GCC unroll 4
      for (size_t i = 1; i < kChains; ++i) {
        sums[0][r][v] = vaddq_s32(sums[0][r][v], sums[i][r][v]);
      }
      vst1q_s32(tile.acc + r * kMaxTileColumns + v * kLanes, sums[0][r][v]);
    }
  }
}

// [rows - 1][width / 4 - 1]
constexpr DotFunction kTiles[kMaxRows][kMaxColumns / kLanes] = {
    {Dot<1, 1>, Dot<1, 2>, Dot<1, 3>, Dot<1, 4>},
    {Dot<2, 1>, Dot<2, 2>, Dot<2, 3>, Dot<2, 4>},
    {Dot<3, 1>, Dot<3, 2>, Dot<3, 3>, Dot<3, 4>},
    {Dot<4, 1>, Dot<4, 2>, Dot<4, 3>, Dot<4, 4>},
    {Dot<5, 1>, Dot<5, 2>, Dot<5, 3>, Dot<5, 4>},
    {Dot<6, 1>, Dot<6, 2>, Dot<6, 3>, Dot<6, 4>},
};

}  // namespace

void DotS8S8NeonDotprod_6x16(const DotTile& tile) {
  kTiles[tile.rows - 1][tile.width / kLanes - 1](tile);
}

}  // namespace octet::kernels
