// Groups of K with a scale each, on vpdpbusd: a group's sums turn to FP32 and
// are added where they are, in registers.
//
// An int32 and an FP32 accumulator per result: 2 x 64 or 6 x 32, the latter 24
// accumulators + 2 weights + 1 broadcast < 32 zmm; GCC 12 spills 3 x 64, which
// needs 29. Unrolled and inline as in dot_u8s8_avx512vnni.cc, for the same
// reasons.

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/instruction.h"
#include "kernels/microkernel.h"

namespace octet::kernels {
namespace {

constexpr size_t kLanes = 16;
constexpr size_t kGroup = 4;
constexpr size_t kVectorBytes = kLanes * kGroup;

constexpr size_t kWideRows = 2;  // that may meet four vectors; in registry.cc

inline __attribute__((always_inline)) void DotAdd(__m512i& sum, __m512i a,
                                                  __m512i b) {
  OCTET_INSTRUCTION(sum = _mm512_dpbusd_epi32(sum, a, b),
                    "vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
}

// Inline for the same reason: the converted sum stays in its register.
inline __attribute__((always_inline)) void AddScaled(__m512& sum, __m512i& acc,
                                                     __m512 scale) {
  OCTET_INSTRUCTION(sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc), scale, sum),
                    "vcvtdq2ps %1, %1\n\tvfmadd231ps %1, %2, %0" : "+v"(sum),
                    "+v"(acc) : "v"(scale));
}

inline __attribute__((always_inline)) __m512i BroadcastGroup(const uint8_t* a) {
  int32_t codes = 0;
  std::memcpy(&codes, a, sizeof(codes));
  return _mm512_set1_epi32(codes);
}

// Columns [column, column + kVectors * kLanes) of the panel.
template <size_t kRows, size_t kVectors, Into kInto = Into::kL1>
void Dot(const GroupedTile& tile, size_t column) {
  const size_t stride = tile.width * kGroup;
  const uint8_t* a = tile.a;
  const int8_t* b = tile.b + column * kGroup;
  const int8_t* soon =
      tile.prefetch.from + column / kLanes * tile.prefetch.spread;
  float* const out = tile.sums + column;
  __m512 sums[kRows][kVectors];
#pragma GCC unroll 6
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) {
      const float* const before = out + r * kMaxTileColumns + v * kLanes;
      sums[r][v] = tile.first ? _mm512_setzero_ps() : _mm512_loadu_ps(before);
    }
  }
  size_t at = column;  // into seeds and scales
  for (size_t left = tile.groups; left > 0; at += tile.scale_stride) {
    const size_t steps = left < tile.scale_groups ? left : tile.scale_groups;
    left -= steps;
    __m512i acc[kRows][kVectors];
#pragma GCC unroll 6
    for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (size_t v = 0; v < kVectors; ++v) {
        acc[r][v] = _mm512_loadu_si512(tile.seeds + at + v * kLanes);
      }
    }
    size_t g = 0;
    do {
      __m512i weights[kVectors];
#pragma GCC unroll 4
      for (size_t v = 0; v < kVectors; ++v) {
        _mm_prefetch(soon + v * tile.prefetch.spread,
                     kInto == Into::kL1 ? _MM_HINT_T0 : _MM_HINT_T1);
        weights[v] = _mm512_loadu_si512(b + v * kVectorBytes);
        OCTET_LOADED_ONCE(weights[v]);
      }
      soon += tile.prefetch.step;
#pragma GCC unroll 6
      for (size_t r = 0; r < kRows; ++r) {
        const __m512i codes = BroadcastGroup(a + r * tile.a_stride);
#pragma GCC unroll 4
        for (size_t v = 0; v < kVectors; ++v) {
          DotAdd(acc[r][v], codes, weights[v]);
        }
      }
      a += kGroup;
      b += stride;
    } while (++g < steps);
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) {
      const __m512 scales = _mm512_loadu_ps(tile.scales + at + v * kLanes);
#pragma GCC unroll 6
      for (size_t r = 0; r < kRows; ++r) {
        AddScaled(sums[r][v], acc[r][v], scales);
      }
    }
  }
#pragma GCC unroll 6
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) {
      _mm512_storeu_ps(out + r * kMaxTileColumns + v * kLanes, sums[r][v]);
    }
  }
}

using DotColumns = void (*)(const GroupedTile&, size_t);

// [rows - 1][vectors - 1]; more rows take at most two vectors.
constexpr DotColumns kDots[][4] = {
    {Dot<1, 1>, Dot<1, 2>, Dot<1, 3>, Dot<1, 4>},
    {Dot<2, 1>, Dot<2, 2>, Dot<2, 3>, Dot<2, 4>},
    {Dot<3, 1>, Dot<3, 2>, nullptr, nullptr},
    {Dot<4, 1>, Dot<4, 2>, nullptr, nullptr},
    {Dot<5, 1>, Dot<5, 2>, nullptr, nullptr},
    {Dot<6, 1>, Dot<6, 2>, nullptr, nullptr},
};

// [rows - kWideRows - 1], two vectors.
constexpr DotColumns kDotsIntoL2[] = {
    Dot<3, 2, Into::kL2>, Dot<4, 2, Into::kL2>, Dot<5, 2, Into::kL2>,
    Dot<6, 2, Into::kL2>};

DotColumns FunctionFor(const GroupedTile& tile, size_t vectors) {
  return tile.prefetch.into == Into::kL1 || tile.rows <= kWideRows ||
                 vectors != 2
             ? kDots[tile.rows - 1][vectors - 1]
             : kDotsIntoL2[tile.rows - kWideRows - 1];
}

}  // namespace

void DotGroupedAvx512Vnni(const GroupedTile& tile) {
  const size_t most = tile.rows <= kWideRows ? 4 : 2;
  const size_t vectors = tile.width / kLanes;
  for (size_t v = 0; v < vectors; v += most) {
    const size_t count = vectors - v < most ? vectors - v : most;
    FunctionFor(tile, count)(tile, v * kLanes);
  }
}

}  // namespace octet::kernels
