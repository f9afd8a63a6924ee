// u8 x s8 on AVX2 without VNNI, exactly: both sides are widened to 16 bits
// before vpmaddwd, whose pair sums reach 2 * 255 * 128 and fit an int32.
//
// vpmaddubsw would save the widening and saturates at 32767. Kept from doing
// so, it wins nothing. Per 32 products, besides broadcasts and loads:
//   vpmaddwd                       2 multiply, 2 add
//   |a| with the sign moved to b   vpsignb, vpmaddubsw, vpmaddwd by 1, add;
//                                  and wrong where b is -128
//   7 bits of a, and its 8th       2 vpmaddubsw, 16-bit add, vpmaddwd by 1, add
//
// 6 x 16: 12 accumulators + 2 weights + 1 broadcast + 1 product = 16 ymm; GCC
// 12 fits them in where both instructions are written inline and every loop
// over accumulators is unrolled (tests/kernels/no_spills_test.cmake). Codes
// come widened (code_bytes), so that the loop broadcasts pairs straight from
// memory; weights stay 8 bits wide and are widened on their way into registers,
// once for all rows.

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/microkernel.h"

namespace octet::kernels {
namespace {

constexpr size_t kLanes = 8;
constexpr size_t kGroup = 2;
constexpr size_t kMaxRows = 6;
constexpr size_t kMaxVectors = 2;
constexpr size_t kGroupBytes = kGroup * sizeof(int16_t);
// Bytes by which weights are asked for ahead of their use, panel after panel.
constexpr size_t kPrefetch = 2048;

// vpmaddwd and the addition take 3 to 6 cycles: few rows walk K in several
// chains, to have enough sums under way.
constexpr size_t Chains(size_t rows) {
  return rows == 1 ? 4 : rows <= 3 ? 2 : 1;
}

inline __attribute__((always_inline)) __m256i Load(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

inline __attribute__((always_inline)) __m256i Widened(const int8_t* b) {
  return _mm256_cvtepi8_epi16(
      _mm_loadu_si128(reinterpret_cast<const __m128i*>(b)));
}

inline __attribute__((always_inline)) __m256i BroadcastPair(const uint8_t* a) {
  int32_t codes = 0;
  __builtin_memcpy(&codes, a, sizeof(codes));
  return _mm256_set1_epi32(codes);
}

inline __attribute__((always_inline)) void MultiplyAdd(__m256i& sum,
                                                       __m256i codes,
                                                       __m256i weights) {
  __m256i products;
  asm("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0"
      : "+x"(sum), "=&x"(products)
      : "x"(codes), "x"(weights));
}

// One group of k into the accumulators of one chain.
template <size_t kRows, size_t kVectors>
inline __attribute__((always_inline)) void Step(
    __m256i (&sums)[kRows][kVectors], const uint8_t* a, size_t a_stride,
    const int8_t* b) {
  __builtin_prefetch(b + kPrefetch);
  __m256i weights[kVectors];
#pragma GCC unroll 2
  for (size_t v = 0; v < kVectors; ++v) {
    weights[v] = Widened(b + v * kLanes * kGroup);
  }
#pragma GCC unroll 6
  for (size_t r = 0; r < kRows; ++r) {
    const __m256i codes = BroadcastPair(a + r * a_stride);
#pragma GCC unroll 2
    for (size_t v = 0; v < kVectors; ++v) {
      MultiplyAdd(sums[r][v], codes, weights[v]);
    }
  }
}

template <size_t kRows, size_t kVectors>
void Dot(const DotTile& tile) {
  constexpr size_t kChains = Chains(kRows);
  constexpr size_t kStride = kVectors * kLanes * kGroup;
  __m256i sums[kChains][kRows][kVectors];
#pragma GCC unroll 6
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (size_t v = 0; v < kVectors; ++v) {
      sums[0][r][v] = Load(tile.seed + r * tile.seed_stride + v * kLanes);
#pragma GCC unroll 4
      for (size_t i = 1; i < kChains; ++i) {
        sums[i][r][v] = _mm256_setzero_si256();
      }
    }
  }
  const uint8_t* a = tile.a;
  const int8_t* b = tile.b;
  size_t g = 0;
  for (; g + kChains <= tile.groups; g += kChains) {
#pragma GCC unroll 4
    for (size_t i = 0; i < kChains; ++i) {
      Step(sums[i], a + i * kGroupBytes, tile.a_stride, b + i * kStride);
    }
    a += kChains * kGroupBytes;
    b += kChains * kStride;
  }
  if constexpr (kChains > 1) {
    for (; g < tile.groups; ++g, a += kGroupBytes, b += kStride) {
      Step(sums[0], a, tile.a_stride, b);
    }
  }
#pragma GCC unroll 6
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (size_t v = 0; v < kVectors; ++v) {
#pragma GCC unroll 4
      for (size_t i = 1; i < kChains; ++i) {
        sums[0][r][v] = _mm256_add_epi32(sums[0][r][v], sums[i][r][v]);
      }
      int32_t* const acc = tile.acc + r * kMaxTileColumns + v * kLanes;
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(acc), sums[0][r][v]);
    }
  }
}

// [rows - 1][width / 8 - 1]
constexpr DotFunction kDots[kMaxRows][kMaxVectors] = {
    {Dot<1, 1>, Dot<1, 2>}, {Dot<2, 1>, Dot<2, 2>}, {Dot<3, 1>, Dot<3, 2>},
    {Dot<4, 1>, Dot<4, 2>}, {Dot<5, 1>, Dot<5, 2>}, {Dot<6, 1>, Dot<6, 2>},
};

}  // namespace

void DotU8S8Avx2_6x16(const DotTile& tile) {
  kDots[tile.rows - 1][tile.width / kLanes - 1](tile);
}

}  // namespace octet::kernels
