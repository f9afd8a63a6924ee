// s8 x u8 on AVX2 without VNNI, of codes in safe pairs (safe_pairs.h): per 32
// products vpmaddubsw, vpmaddwd by ones and vpaddd. Rivals do the same with
// codes as they are, and saturate. Other exact ways take
//
//   both sides widened           2 vpmaddwd, 2 vpaddd, and the widening
//   |a|, and its sign in b       vpsignb too; and wrong where b is -128
//   7 bits of a, and its 8th     2 vpmaddubsw, vpaddw, vpmaddwd, vpaddd
//   two groups added in 16 bits  2 1/2 instructions; 1.02 to 1.14 times as fast
//                                on Zen 3 where four codes are hardly ever too
//                                large together, 0.9 times elsewhere
//
// 5 x 16: 10 accumulators + 2 weights + 1 broadcast + 1 product + ones = 15
// ymm. Sums wait a cycle for each other, so that one chain of them is enough
// for any number of rows.

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/microkernel.h"
#include "kernels/safe_pairs.h"

#define OCTET_INLINE static inline __attribute__((always_inline))

namespace octet::kernels {
namespace {

constexpr size_t kLanes = 8;
constexpr size_t kGroup = 4;
constexpr size_t kVectorBytes = kLanes * kGroup;
constexpr size_t kMaxRows = 5;
constexpr size_t kMaxVectors = 2;
// Bytes of weights asked for ahead of their use. On Zen 3, 8 KiB are 1.2 to 1.5
// times as fast as 2 KiB where few rows read weights from L3, and no slower
// elsewhere.
constexpr size_t kAhead = 8192;

template <size_t kRows, size_t kVectors>
using Sums = __m256i[kRows][kVectors];

OCTET_INLINE __m256i Load(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

OCTET_INLINE __m256i BroadcastGroup(const void* a) {
  int32_t codes = 0;
  __builtin_memcpy(&codes, a, sizeof(codes));
  return _mm256_set1_epi32(codes);
}

OCTET_INLINE void DotAdd(__m256i& sum, __m256i codes, __m256i weights,
                         __m256i ones) {
  __m256i products;
  asm("vpmaddubsw %2, %3, %1\n\t"
      "vpmaddwd %4, %1, %1\n\t"
      "vpaddd %1, %0, %0"
      : "+x"(sum), "=&x"(products)
      : "x"(codes), "x"(weights), "x"(ones));
}

template <size_t kRows, size_t kVectors>
OCTET_INLINE void Seed(Sums<kRows, kVectors>& sums, const DotTile& tile) {
#pragma GCC unroll 5
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (size_t v = 0; v < kVectors; ++v) {
      sums[r][v] = tile.row_seeds != nullptr
                       ? _mm256_set1_epi32(tile.row_seeds[r])
                       : Load(tile.seed + r * tile.seed_stride + v * kLanes);
    }
  }
}

// One group of k.
template <size_t kRows, size_t kVectors>
OCTET_INLINE void Step(Sums<kRows, kVectors>& sums, const uint8_t* a,
                       size_t a_stride, const int8_t* b, __m256i ones) {
  __m256i weights[kVectors];
#pragma GCC unroll 2
  for (size_t v = 0; v < kVectors; ++v) {
    weights[v] = Load(b + v * kVectorBytes);
    // GCC would rather load them again for every row.
    asm("" : "+x"(weights[v]));
  }
#pragma GCC unroll 5
  for (size_t r = 0; r < kRows; ++r) {
    const __m256i codes = BroadcastGroup(a + r * a_stride);
#pragma GCC unroll 2
    for (size_t v = 0; v < kVectors; ++v) {
      DotAdd(sums[r][v], codes, weights[v], ones);
    }
  }
}

// A group of every row, each its own.
template <size_t kRows, size_t kVectors>
OCTET_INLINE void AddExcess(Sums<kRows, kVectors>& sums, const Excess* excess,
                            const int8_t* b, __m256i ones) {
#pragma GCC unroll 5
  for (size_t r = 0; r < kRows; ++r) {
    const __m256i codes = BroadcastGroup(&excess[r].codes);
    const int8_t* weights = b + excess[r].group * kVectors * kVectorBytes;
#pragma GCC unroll 2
    for (size_t v = 0; v < kVectors; ++v) {
      DotAdd(sums[r][v], codes, Load(weights + v * kVectorBytes), ones);
    }
  }
}

template <size_t kRows, size_t kVectors>
OCTET_INLINE void StoreSums(const Sums<kRows, kVectors>& sums, int32_t* acc) {
#pragma GCC unroll 5
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (size_t v = 0; v < kVectors; ++v) {
      int32_t* const to = acc + r * kMaxTileColumns + v * kLanes;
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), sums[r][v]);
    }
  }
}

// The first `left` lanes, of eight and more all.
OCTET_INLINE __m256i FirstLanes(size_t left) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const int32_t most = left < kLanes ? static_cast<int32_t>(left) : 8;
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(most), lane);
}

// By value: for all that GCC knows, a store to y may change what a reference
// leads to. Masked stores are slow, and kept for where a row ends.
template <bool kOutliers, bool kResidual, size_t kRows, size_t kVectors>
OCTET_INLINE void StoreRows(const Sums<kRows, kVectors>& sums,
                            const ScaledOutput out) {
#pragma GCC unroll 2
  for (size_t v = 0; v < kVectors; ++v) {
    const size_t c = v * kLanes;
    if (c >= out.columns) return;
    const bool whole = out.columns - c >= kLanes;
    const __m256i there = FirstLanes(out.columns - c);
    const __m256 scale = _mm256_loadu_ps(out.weight_scales + c);
    const __m256 bias = _mm256_loadu_ps(out.bias + c);
#pragma GCC unroll 5
    for (size_t r = 0; r < kRows; ++r) {
      const __m256 sum = _mm256_mul_ps(_mm256_set1_ps(out.row_scales[r]),
                                       _mm256_cvtepi32_ps(sums[r][v]));
      __m256 y = _mm256_mul_ps(scale, sum);
      if (kOutliers) {
        const float* outliers = out.outliers + r * kMaxTileColumns + c;
        y = _mm256_add_ps(y, _mm256_loadu_ps(outliers));
      }
      y = _mm256_add_ps(y, bias);
      if (kResidual) {
        const float* residual = out.residual + r * out.residual_stride + c;
        y = _mm256_add_ps(y, _mm256_maskload_ps(residual, there));
      }
      float* const to = out.y + r * out.y_stride + c;
      whole ? _mm256_storeu_ps(to, y) : _mm256_maskstore_ps(to, there, y);
    }
  }
}

template <bool kOutliers, size_t kRows, size_t kVectors>
OCTET_INLINE void StoreScaled(const Sums<kRows, kVectors>& sums,
                              const ScaledOutput& out) {
  out.residual == nullptr ? StoreRows<kOutliers, false>(sums, out)
                          : StoreRows<kOutliers, true>(sums, out);
}

// What is asked for now arrives while the tile multiplies.
template <size_t kRows>
OCTET_INLINE void PrefetchRows(const float* y, size_t stride) {
#pragma GCC unroll 5
  for (size_t r = 0; r < kRows; ++r) {
    __builtin_prefetch(y + r * stride, 1);
    __builtin_prefetch(y + r * stride + 2 * kLanes - 1, 1);
  }
}

template <size_t kRows, size_t kVectors>
void Dot(const DotTile& tile) {
  constexpr size_t kGroupBytes = kVectors * kVectorBytes;
  const __m256i ones = _mm256_set1_epi16(1);
  Sums<kRows, kVectors> sums;
  Seed(sums, tile);
  if (tile.scaled != nullptr && tile.scaled->is_far) {
    PrefetchRows<kRows>(tile.scaled->y, tile.scaled->y_stride);
    if (tile.scaled->residual != nullptr) {
      PrefetchRows<kRows>(tile.scaled->residual, tile.scaled->residual_stride);
    }
  }
  const uint8_t* a = tile.a;
  const int8_t* b = tile.b;
  // Two groups at once: what else a loop takes is a tenth of its instructions,
  // and the front end is the limit where another thread shares the core.
  for (size_t left = tile.groups / 2; left > 0; --left) {
    __builtin_prefetch(b + kAhead);
    Step(sums, a, tile.a_stride, b, ones);
    __builtin_prefetch(b + kAhead + kGroupBytes);
    Step(sums, a + kGroup, tile.a_stride, b + kGroupBytes, ones);
    a += 2 * kGroup;
    b += 2 * kGroupBytes;
  }
  if (tile.groups % 2 != 0) Step(sums, a, tile.a_stride, b, ones);
  const Excess* excess = tile.excess;
  for (size_t i = 0; i < tile.excess_steps; ++i, excess += kRows) {
    AddExcess(sums, excess, tile.panel, ones);
  }
  if (tile.scaled == nullptr) return StoreSums(sums, tile.acc);
  tile.scaled->outliers == nullptr ? StoreScaled<false>(sums, *tile.scaled)
                                   : StoreScaled<true>(sums, *tile.scaled);
}

// [rows - 1][width / 8 - 1]
constexpr DotFunction kTiles[kMaxRows][kMaxVectors] = {
    {Dot<1, 1>, Dot<1, 2>}, {Dot<2, 1>, Dot<2, 2>}, {Dot<3, 1>, Dot<3, 2>},
    {Dot<4, 1>, Dot<4, 2>}, {Dot<5, 1>, Dot<5, 2>},
};

}  // namespace

void DotS8U8Avx2_5x16(const DotTile& tile) {
  kTiles[tile.rows - 1][tile.width / kLanes - 1](tile);
}

}  // namespace octet::kernels

#undef OCTET_INLINE
