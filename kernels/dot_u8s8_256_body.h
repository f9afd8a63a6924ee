// u8 x s8 in 256 bits, written once for
//
//   AVX-VNNI            vpdpbusd in VEX encoding: CPUs without AVX-512
//   AVX512-VNNI with VL vpdpbusd in EVEX encoding: the same arithmetic where
//                       AVX-VNNI is missing
//   AVX2                vpmaddwd and vpaddd, on both sides widened to 16 bits
//
// `Instructions` say what differs:
//
//   kGroup                       k of a group, whose codes take 4 bytes
//   kAhead                       bytes of weights to prefetch, where rows are
//                                few: what memory delivers while they multiply
//   Weights(b)                   eight columns of a group, in a register
//   DotAdd(sum, codes, weights)  eight sums += the products of a group
//
// Each including file is compiled for its own instruction set, with a type of
// its own as Instructions, so that no two instantiations share a symbol.
//
// 6 x 16: 12 accumulators + 2 weights + 1 broadcast + 1 product (AVX2) = 16
// ymm. Every loop over accumulators is fully unrolled and instructions are
// written inline: GCC 12 otherwise keeps them on the stack
// (tests/kernels/no_spills_test.cmake).

#ifndef OCTET_KERNELS_DOT_U8S8_256_BODY_H_
#define OCTET_KERNELS_DOT_U8S8_256_BODY_H_

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/microkernel.h"

#define OCTET_INLINE static inline __attribute__((always_inline))

namespace octet::kernels {

template <typename Instructions>
class DotU8S8Of256Bits {
 public:
  static void Run(const DotTile& tile) {
    kTiles[tile.rows - 1][tile.width / kLanes - 1](tile);
  }

 private:
  static constexpr size_t kLanes = 8;
  static constexpr size_t kCodeBytes = 4;  // of a group in a row
  static constexpr size_t kMaxRows = 6;
  static constexpr size_t kMaxVectors = 2;

  // Bytes by which weights are asked for ahead of their use, panel after panel.
  // Few rows are mostly the whole batch, and wait for memory; further ahead
  // than 2 KiB, full tiles would push their own panel out of L1.
  static constexpr size_t Prefetch(size_t rows) {
    return rows < kMaxRows ? Instructions::kAhead : 2048;
  }

  // A sum takes 4 to 6 cycles, and CPUs start two in each: few rows walk K in
  // several chains, to have about ten sums under way.
  static constexpr size_t Chains(size_t rows) {
    return rows == 1 ? 5 : rows == 2 ? 3 : rows == 3 ? 2 : 1;
  }

  OCTET_INLINE __m256i Load(const void* p) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(p));
  }

  OCTET_INLINE __m256i BroadcastGroup(const uint8_t* a) {
    int32_t codes = 0;
    static_assert(sizeof(codes) == kCodeBytes);
    __builtin_memcpy(&codes, a, sizeof(codes));
    return _mm256_set1_epi32(codes);
  }

  // One group of k into the accumulators of one chain.
  template <size_t kRows, size_t kVectors>
  OCTET_INLINE void Step(__m256i (&sums)[kRows][kVectors], const uint8_t* a,
                         size_t a_stride, const int8_t* b) {
    __builtin_prefetch(b + Prefetch(kRows));
    __m256i weights[kVectors];
#pragma GCC unroll 2
    for (size_t v = 0; v < kVectors; ++v) {
      weights[v] = Instructions::Weights(b + v * kLanes * Instructions::kGroup);
    }
#pragma GCC unroll 6
    for (size_t r = 0; r < kRows; ++r) {
      const __m256i codes = BroadcastGroup(a + r * a_stride);
#pragma GCC unroll 2
      for (size_t v = 0; v < kVectors; ++v) {
        Instructions::DotAdd(sums[r][v], codes, weights[v]);
      }
    }
  }

  template <size_t kRows, size_t kVectors>
  static void Dot(const DotTile& tile) {
    constexpr size_t kChains = Chains(kRows);
    constexpr size_t kStride = kVectors * kLanes * Instructions::kGroup;
    __m256i sums[kChains][kRows][kVectors];
#pragma GCC unroll 6
    for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (size_t v = 0; v < kVectors; ++v) {
        sums[0][r][v] = Load(tile.seed + r * tile.seed_stride + v * kLanes);
#pragma GCC unroll 5
        for (size_t i = 1; i < kChains; ++i) {
          sums[i][r][v] = _mm256_setzero_si256();
        }
      }
    }
    const uint8_t* a = tile.a;
    const int8_t* b = tile.b;
    size_t g = 0;
    for (; g + kChains <= tile.groups; g += kChains) {
#pragma GCC unroll 5
      for (size_t i = 0; i < kChains; ++i) {
        Step(sums[i], a + i * kCodeBytes, tile.a_stride, b + i * kStride);
      }
      a += kChains * kCodeBytes;
      b += kChains * kStride;
    }
    if constexpr (kChains > 1) {
      for (; g < tile.groups; ++g, a += kCodeBytes, b += kStride) {
        Step(sums[0], a, tile.a_stride, b);
      }
    }
#pragma GCC unroll 6
    for (size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (size_t v = 0; v < kVectors; ++v) {
#pragma GCC unroll 5
        for (size_t i = 1; i < kChains; ++i) {
          sums[0][r][v] = _mm256_add_epi32(sums[0][r][v], sums[i][r][v]);
        }
        int32_t* const acc = tile.acc + r * kMaxTileColumns + v * kLanes;
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(acc), sums[0][r][v]);
      }
    }
  }

  // [rows - 1][width / 8 - 1]
  static constexpr DotFunction kTiles[kMaxRows][kMaxVectors] = {
      {Dot<1, 1>, Dot<1, 2>}, {Dot<2, 1>, Dot<2, 2>}, {Dot<3, 1>, Dot<3, 2>},
      {Dot<4, 1>, Dot<4, 2>}, {Dot<5, 1>, Dot<5, 2>}, {Dot<6, 1>, Dot<6, 2>},
  };
};

}  // namespace octet::kernels

#undef OCTET_INLINE

#endif  // OCTET_KERNELS_DOT_U8S8_256_BODY_H_
