// u8 x s8 on AVX2 without VNNI, exactly: both sides are widened to 16 bits
// before vpmaddwd, whose pair sums reach 2 * 255 * 128 and fit an int32.
// (vpmaddubsw would be twice as fast and saturates at 32767.)

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/microkernel.h"

namespace octet::kernels {
namespace {

// A panel is 8 columns: 12 accumulators + 2 weights + 1 broadcast < 16 ymm.
constexpr size_t kColumns = 8;
constexpr size_t kGroup = 4;

__m256i BroadcastGroup(const uint8_t* a) {
  int32_t codes = 0;
  std::memcpy(&codes, a, sizeof(codes));
  return _mm256_cvtepu8_epi16(_mm_set1_epi32(codes));
}

// Lanes of the accumulators: columns 0-3 (4-7) as pairs of k 0-1 and k 2-3.
template <size_t kRows>
void Dot(const DotTile& tile) {
  __m256i low[kRows];
  __m256i high[kRows];
#pragma GCC unroll 6
  for (size_t r = 0; r < kRows; ++r) {
    low[r] = _mm256_setzero_si256();
    high[r] = _mm256_setzero_si256();
  }
  const uint8_t* a = tile.a;
  const int8_t* b = tile.b;
  for (size_t g = 0; g < tile.groups; ++g) {
    const __m256i b_low = _mm256_cvtepi8_epi16(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(b)));
    const __m256i b_high = _mm256_cvtepi8_epi16(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(b + 16)));
#pragma GCC unroll 6
    for (size_t r = 0; r < kRows; ++r) {
      const __m256i codes = BroadcastGroup(a + r * tile.a_stride);
      low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(codes, b_low));
      high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(codes, b_high));
    }
    a += kGroup;
    b += kColumns * kGroup;
  }
#pragma GCC unroll 6
  for (size_t r = 0; r < kRows; ++r) {
    // hadd gives columns 0 1 4 5 | 2 3 6 7.
    const __m256i seed = _mm256_loadu_si256(
        reinterpret_cast<const __m256i*>(tile.seed + r * tile.seed_stride));
    const __m256i sums = _mm256_permute4x64_epi64(
        _mm256_hadd_epi32(low[r], high[r]), _MM_SHUFFLE(3, 1, 2, 0));
    _mm256_storeu_si256(
        reinterpret_cast<__m256i*>(tile.acc + r * kMaxTileColumns),
        _mm256_add_epi32(sums, seed));
  }
}

}  // namespace

void DotU8S8Avx2_6x8(const DotTile& tile) {
  switch (tile.rows) {
    case 1:
      return Dot<1>(tile);
    case 2:
      return Dot<2>(tile);
    case 3:
      return Dot<3>(tile);
    case 4:
      return Dot<4>(tile);
    case 5:
      return Dot<5>(tile);
    default:
      return Dot<6>(tile);
  }
}

}  // namespace octet::kernels
