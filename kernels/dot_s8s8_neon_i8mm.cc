// s8 x s8 with smmla: two rows times two columns, eight k each, into the four
// int32 of a register: [r0 c0, r0 c1, r1 c0, r1 c1].
//
// 8 x 12: 24 accumulators (4 pairs of rows x 6 of columns) + 4 codes +
// weights < 32. An odd last row is paired with itself. One row alone has half
// of smmla's result for nothing; it goes through sdot, whose lanes are then a
// column's k 0-3 and k 4-7.

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/microkernel.h"

namespace octet::kernels {
namespace {

constexpr size_t kMaxRows = 8;
constexpr size_t kMaxColumns = 12;
constexpr size_t kGroup = 8;
constexpr size_t kLanes = 4;    // columns that an epilogue's vector holds
constexpr size_t kColumns = 2;  // columns that a register of weights holds

inline __attribute__((always_inline)) int32x4_t LowHalves(int32x4_t a,
                                                          int32x4_t b) {
  return vreinterpretq_s32_s64(
      vzip1q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}

inline __attribute__((always_inline)) int32x4_t HighHalves(int32x4_t a,
                                                           int32x4_t b) {
  return vreinterpretq_s32_s64(
      vzip2q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}

// One group of two rows.
inline __attribute__((always_inline)) int8x16_t RowPair(const uint8_t* a,
                                                        const uint8_t* b) {
  return vreinterpretq_s8_u8(vcombine_u8(vld1_u8(a), vld1_u8(b)));
}

template <size_t kRows, size_t kVectors>
void Dot(const DotTile& tile) {
  constexpr size_t kPairs = (kRows + 1) / 2;
  constexpr size_t kWeights = kVectors * kLanes / kColumns;
  const auto second = [](size_t pair) {
    return 2 * pair + 1 < kRows ? 2 * pair + 1 : 2 * pair;
  };
  int32x4_t sums[kPairs][kWeights];
#pragma GCC unroll 4
  for (size_t p = 0; p < kPairs; ++p) {
#pragma GCC unroll 3
    for (size_t v = 0; v < kVectors; ++v) {
      const int32_t* seed = tile.seed + v * kLanes;
      const int32x4_t even = vld1q_s32(seed + 2 * p * tile.seed_stride);
      const int32x4_t odd = vld1q_s32(seed + second(p) * tile.seed_stride);
      sums[p][2 * v] = LowHalves(even, odd);
      sums[p][2 * v + 1] = HighHalves(even, odd);
    }
  }
  const uint8_t* a = tile.a;
  const int8_t* b = tile.b;
  for (size_t g = 0; g < tile.groups; ++g) {
    int8x16_t codes[kPairs];
#pragma GCC unroll 4
    for (size_t p = 0; p < kPairs; ++p) {
      codes[p] =
          RowPair(a + 2 * p * tile.a_stride, a + second(p) * tile.a_stride);
    }
#pragma GCC unroll 6
    for (size_t w = 0; w < kWeights; ++w) {
      const int8x16_t weights = vld1q_s8(b + w * kColumns * kGroup);
#pragma GCC unroll 4
      for (size_t p = 0; p < kPairs; ++p) {
        sums[p][w] = vmmlaq_s32(sums[p][w], codes[p], weights);
      }
    }
    a += kGroup;
    b += kVectors * kLanes * kGroup;
  }
#pragma GCC unroll 4
  for (size_t p = 0; p < kPairs; ++p) {
#pragma GCC unroll 3
    for (size_t v = 0; v < kVectors; ++v) {
      int32_t* acc = tile.acc + 2 * p * kMaxTileColumns + v * kLanes;
      vst1q_s32(acc, LowHalves(sums[p][2 * v], sums[p][2 * v + 1]));
      if (2 * p + 1 < kRows) {
        vst1q_s32(acc + kMaxTileColumns,
                  HighHalves(sums[p][2 * v], sums[p][2 * v + 1]));
      }
    }
  }
}

// One group of one row, twice.
inline __attribute__((always_inline)) int8x16_t RowTwice(const uint8_t* a) {
  const uint8x8_t codes = vld1_u8(a);
  return vreinterpretq_s8_u8(vcombine_u8(codes, codes));
}

template <size_t kVectors>
void DotOneRow(const DotTile& tile) {
  constexpr size_t kWeights = kVectors * kLanes / kColumns;
  constexpr size_t kStride = kVectors * kLanes * kGroup;
  int32x4_t sums[2][kWeights];  // two chains along K hide sdot's latency
#pragma GCC unroll 6
  for (size_t w = 0; w < kWeights; ++w) {
    sums[0][w] = vdupq_n_s32(0);
    sums[1][w] = vdupq_n_s32(0);
  }
  const uint8_t* a = tile.a;
  const int8_t* b = tile.b;
  size_t g = 0;
  for (; g + 2 <= tile.groups; g += 2, a += 2 * kGroup, b += 2 * kStride) {
    const int8x16_t first = RowTwice(a);
    const int8x16_t next = RowTwice(a + kGroup);
#pragma GCC unroll 6
    for (size_t w = 0; w < kWeights; ++w) {
      const int8_t* weights = b + w * kColumns * kGroup;
      sums[0][w] = vdotq_s32(sums[0][w], vld1q_s8(weights), first);
      sums[1][w] = vdotq_s32(sums[1][w], vld1q_s8(weights + kStride), next);
    }
  }
  if (g < tile.groups) {
    const int8x16_t last = RowTwice(a);
#pragma GCC unroll 6
    for (size_t w = 0; w < kWeights; ++w) {
      const int8_t* weights = b + w * kColumns * kGroup;
      sums[0][w] = vdotq_s32(sums[0][w], vld1q_s8(weights), last);
    }
  }
#pragma GCC unroll 3
  for (size_t v = 0; v < kVectors; ++v) {
    const int32x4_t low = vaddq_s32(sums[0][2 * v], sums[1][2 * v]);
    const int32x4_t high = vaddq_s32(sums[0][2 * v + 1], sums[1][2 * v + 1]);
    const int32x4_t seed = vld1q_s32(tile.seed + v * kLanes);
    vst1q_s32(tile.acc + v * kLanes, vaddq_s32(seed, vpaddq_s32(low, high)));
  }
}

// [rows - 1][width / 4 - 1]
constexpr DotFunction kTiles[kMaxRows][kMaxColumns / kLanes] = {
    {DotOneRow<1>, DotOneRow<2>, DotOneRow<3>},
    {Dot<2, 1>, Dot<2, 2>, Dot<2, 3>},
    {Dot<3, 1>, Dot<3, 2>, Dot<3, 3>},
    {Dot<4, 1>, Dot<4, 2>, Dot<4, 3>},
    {Dot<5, 1>, Dot<5, 2>, Dot<5, 3>},
    {Dot<6, 1>, Dot<6, 2>, Dot<6, 3>},
    {Dot<7, 1>, Dot<7, 2>, Dot<7, 3>},
    {Dot<8, 1>, Dot<8, 2>, Dot<8, 3>},
};

}  // namespace

void DotS8S8NeonI8mm_8x12(const DotTile& tile) {
  kTiles[tile.rows - 1][tile.width / kLanes - 1](tile);
}

}  // namespace octet::kernels
