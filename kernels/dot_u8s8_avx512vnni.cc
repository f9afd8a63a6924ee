// u8 x s8 with vpdpbusd, which sums four products into an int32 lane and
// wraps (vpdpbusds would saturate).
//
// 6 x 64: 24 accumulators + 4 weights + 1 broadcast < 32 zmm. Every loop over
// accumulators is fully unrolled and the instruction is written inline: GCC 12
// otherwise keeps them on the stack or copies them around the intrinsic
// (tests/kernels/no_spills_test.cmake looks at the result).
//
// 7 and 8 rows, where a call has no more: see dot_in_halves.h.

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/dot_in_halves.h"
#include "kernels/instruction.h"
#include "kernels/microkernel.h"

namespace octet::kernels {
namespace {

constexpr size_t kLanes = 16;
constexpr size_t kGroup = 4;
constexpr size_t kVectorBytes = kLanes * kGroup;
constexpr size_t kMostRows = 6;  // of one walk
constexpr size_t kMaxRows = 8;
constexpr size_t kMaxVectors = 4;

inline __attribute__((always_inline)) void DotAdd(__m512i& sum, __m512i a,
                                                  __m512i b) {
  OCTET_INSTRUCTION(sum = _mm512_dpbusd_epi32(sum, a, b),
                    "vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
}

inline __attribute__((always_inline)) __m512i BroadcastGroup(const uint8_t* a) {
  int32_t codes = 0;
  std::memcpy(&codes, a, sizeof(codes));
  return _mm512_set1_epi32(codes);
}

// Small tiles have few accumulators: a second chain along K hides the latency
// of vpdpbusd (4 to 5 cycles at one or two per cycle). Four chains for one row
// read memory 15 % more slowly than two.
constexpr size_t Chains(size_t rows, size_t vectors) {
  return rows * vectors < 10 ? 2 : 1;
}

// Of kRows rows, all are there.
struct AllRows {
  explicit AllRows(size_t /*rows*/) {}
  static constexpr bool has_last() { return true; }
};

// The last may not be there. Asked anew every time: GCC would otherwise write a
// loop for each answer (dot_in_halves.h says why there must be one).
template <size_t kRows>
struct MayLackLast {
  explicit MayLackLast(size_t rows) : has(rows == kRows ? 1 : 0) {}
  bool has_last() const {
    int32_t now = has;
    asm("" : "+r"(now));
    return now != 0;
  }
  int32_t has;
};

// Of one row of seeds for all, each vector is loaded once: loads of 512 bits
// are one per cycle on Zen 4.
template <typename Rows, size_t kRows, size_t kVectors>
inline __attribute__((always_inline)) void Seed(
    __m512i (&sums)[kRows][kVectors], const Rows& rows, const int32_t* seeds,
    size_t stride) {
  if (stride == 0) {
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) {
      const __m512i seed = _mm512_loadu_si512(seeds + v * kLanes);
#pragma GCC unroll 8
      for (size_t r = 0; r < kRows; ++r) sums[r][v] = seed;
    }
    return;
  }
#pragma GCC unroll 8
  for (size_t r = 0; r < kRows; ++r) {
    // A row that is not there has the seeds of the one before it.
    const size_t row = r == kRows - 1 && !rows.has_last() ? r - 1 : r;
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) {
      sums[r][v] = _mm512_loadu_si512(seeds + row * stride + v * kLanes);
    }
  }
}

template <size_t kRows, size_t kVectors>
inline __attribute__((always_inline)) void Clear(
    __m512i (&sums)[kRows][kVectors]) {
#pragma GCC unroll 8
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) sums[r][v] = _mm512_setzero_si512();
  }
}

// One group of k into the accumulators of one chain.
template <typename Rows, size_t kRows, size_t kVectors>
inline __attribute__((always_inline)) void Step(
    __m512i (&sums)[kRows][kVectors], const Rows& rows, const uint8_t* a,
    size_t a_stride, const int8_t* b) {
  __m512i weights[kVectors];
#pragma GCC unroll 4
  for (size_t v = 0; v < kVectors; ++v) {
    weights[v] = _mm512_loadu_si512(b + v * kVectorBytes);
    // GCC would rather load them again for every row: twice the loads.
    OCTET_LOADED_ONCE(weights[v]);
  }
#pragma GCC unroll 8
  for (size_t r = 0; r < kRows; ++r) {
    if (r == kRows - 1 && !rows.has_last()) break;
    const __m512i codes = BroadcastGroup(a + r * a_stride);
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) DotAdd(sums[r][v], codes, weights[v]);
  }
}

template <size_t kChains, size_t kRows, size_t kVectors>
inline __attribute__((always_inline)) void AddChains(
    __m512i (&sums)[kChains][kRows][kVectors]) {
#pragma GCC unroll 8
  for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) {
#pragma GCC unroll 4
      for (size_t i = 1; i < kChains; ++i) {
        sums[0][r][v] = _mm512_add_epi32(sums[0][r][v], sums[i][r][v]);
      }
    }
  }
}

template <typename Rows, size_t kRows, size_t kVectors>
inline __attribute__((always_inline)) void StoreSums(
    __m512i (&sums)[kRows][kVectors], const Rows& rows, int32_t* acc) {
#pragma GCC unroll 8
  for (size_t r = 0; r < kRows; ++r) {
    if (r == kRows - 1 && !rows.has_last()) break;
#pragma GCC unroll 4
    for (size_t v = 0; v < kVectors; ++v) {
      _mm512_storeu_si512(acc + r * kMaxTileColumns + v * kLanes, sums[r][v]);
    }
  }
}

// By value: for all that GCC knows, a store to y may change what a reference
// leads to.
template <bool kResidual, typename Rows, size_t kRows, size_t kVectors>
inline __attribute__((always_inline)) void StoreScaled(
    __m512i (&sums)[kRows][kVectors], const Rows& rows,
    const ScaledOutput out) {
#pragma GCC unroll 4
  for (size_t v = 0; v < kVectors; ++v) {
    const size_t c = v * kLanes;
    if (c >= out.columns) return;
    const size_t left = out.columns - c;
    const __mmask16 there =
        left >= kLanes ? 0xffff : static_cast<__mmask16>((1U << left) - 1);
    const __m512 scale = _mm512_loadu_ps(out.weight_scales + c);
    const __m512 bias = _mm512_loadu_ps(out.bias + c);
#pragma GCC unroll 8
    for (size_t r = 0; r < kRows; ++r) {
      if (r == kRows - 1 && !rows.has_last()) break;
      const __m512 sum = _mm512_mul_ps(_mm512_set1_ps(out.row_scales[r]),
                                       _mm512_cvtepi32_ps(sums[r][v]));
      __m512 y = _mm512_add_ps(_mm512_mul_ps(scale, sum), bias);
      if (kResidual) {
        const float* residual = out.residual + r * out.residual_stride + c;
        y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(there, residual));
      }
      _mm512_mask_storeu_ps(out.y + r * out.y_stride + c, there, y);
    }
  }
}

template <Into kInto, size_t kLines>
inline __attribute__((always_inline)) void PrefetchWeights(const int8_t* from,
                                                           size_t spread) {
#pragma GCC unroll 4
  for (size_t i = 0; i < kLines; ++i) {
    const int8_t* const line = from + i * spread;
    _mm_prefetch(line, kInto == Into::kL1 ? _MM_HINT_T0 : _MM_HINT_T1);
    if (kInto == Into::kL2ThenL1) {
      _mm_prefetch(line - kHalvesEarlier, _MM_HINT_T0);
    }
  }
}

// Lines of y that are asked for now arrive while the tile multiplies: up to 17
// % faster at 512 x 384 x 1536 on Zen 4, up to 2 % on Zen 5. In the shadow of
// the first products, since asking before the tile costs it up to 2 %.
template <size_t kVectors>
inline __attribute__((always_inline)) void PrefetchRow(const float* y) {
#pragma GCC unroll 4
  for (size_t v = 0; v < kVectors; ++v) {
    _mm_prefetch(y + v * kLanes, _MM_HINT_T0);
  }
}

// Every group asks for kLines lines.
template <size_t kRows, size_t kVectors, Into kInto = Into::kL1,
          size_t kLines = kVectors, typename Rows = AllRows>
void Dot(const DotTile& tile) {
  constexpr size_t kChains = Chains(kRows, kVectors);
  const Rows rows(tile.rows);
  const size_t stride = tile.width * kGroup;
  __m512i sums[kChains][kRows][kVectors];
  Seed(sums[0], rows, tile.seed, tile.seed_stride);
#pragma GCC unroll 4
  for (size_t i = 1; i < kChains; ++i) Clear(sums[i]);
  const uint8_t* a = tile.a;
  const int8_t* b = tile.b;
  const int8_t* soon = tile.prefetch.from;
  size_t g = 0;
  if (kChains == 1 && tile.scaled != nullptr && tile.scaled->is_far) {
    const float* y = tile.scaled->y;
    for (; g < tile.rows && g < tile.groups; ++g) {
      PrefetchRow<kVectors>(y);
      y += tile.scaled->y_stride;
      PrefetchWeights<kInto, kLines>(soon, tile.prefetch.spread);
      soon += tile.prefetch.step;
      Step(sums[0], rows, a, tile.a_stride, b);
      a += kGroup;
      b += stride;
    }
  }
  for (; g + kChains <= tile.groups; g += kChains) {
#pragma GCC unroll 4
    for (size_t i = 0; i < kChains; ++i) {
      PrefetchWeights<kInto, kLines>(soon, tile.prefetch.spread);
      Step(sums[i], rows, a + i * kGroup, tile.a_stride, b + i * stride);
      soon += tile.prefetch.step;
    }
    a += kChains * kGroup;
    b += kChains * stride;
  }
  if constexpr (kChains > 1) {
    for (; g < tile.groups; ++g, a += kGroup, b += stride) {
      Step(sums[0], rows, a, tile.a_stride, b);
    }
  }
  if constexpr (kChains > 1) AddChains(sums);
  if (tile.scaled == nullptr) return StoreSums(sums[0], rows, tile.acc);
  tile.scaled->residual == nullptr
      ? StoreScaled<false>(sums[0], rows, *tile.scaled)
      : StoreScaled<true>(sums[0], rows, *tile.scaled);
}

template <Into kInto>
void Dot7Or8(const DotTile& tile) {
  DotInHalves(Dot<kHalfRows, kMaxVectors, kInto, 2, MayLackLast<kHalfRows>>,
              kGroup, tile);
}

// [rows - 1][width / 16 - 1]
constexpr DotFunction kTiles[kMaxRows][kMaxVectors] = {
    {Dot<1, 1>, Dot<1, 2>, Dot<1, 3>, Dot<1, 4>},
    {Dot<2, 1>, Dot<2, 2>, Dot<2, 3>, Dot<2, 4>},
    {Dot<3, 1>, Dot<3, 2>, Dot<3, 3>, Dot<3, 4>},
    {Dot<4, 1>, Dot<4, 2>, Dot<4, 3>, Dot<4, 4>},
    {Dot<5, 1>, Dot<5, 2>, Dot<5, 3>, Dot<5, 4>},
    {Dot<6, 1>, Dot<6, 2>, Dot<6, 3>, Dot<6, 4>},
    {Dot<7, 1>, Dot<7, 2>, Dot<7, 3>, Dot7Or8<Into::kL1>},
    {Dot<8, 1>, Dot<8, 2>, Dot<8, 3>, Dot7Or8<Into::kL1>},
};

// [rows - kLeastIntoL2], of whole panels: fewer rows are never one of two
// tiles.
constexpr size_t kLeastIntoL2 = 4;
constexpr DotFunction kTilesIntoL2[] = {
    Dot<4, kMaxVectors, Into::kL2>, Dot<5, kMaxVectors, Into::kL2>,
    Dot<6, kMaxVectors, Into::kL2>, Dot7Or8<Into::kL2>, Dot7Or8<Into::kL2>};

DotFunction FunctionFor(const DotTile& tile) {
  const size_t vectors = tile.width / kLanes;
  if (tile.prefetch.into == Into::kL1 || vectors != kMaxVectors ||
      tile.rows < kLeastIntoL2) {
    return kTiles[tile.rows - 1][vectors - 1];
  }
  return tile.prefetch.into == Into::kL2ThenL1 && tile.rows > kMostRows
             ? Dot7Or8<Into::kL2ThenL1>
             : kTilesIntoL2[tile.rows - kLeastIntoL2];
}

}  // namespace

void DotU8S8Avx512Vnni_6x64(const DotTile& tile) { FunctionFor(tile)(tile); }

}  // namespace octet::kernels
