// u8 x s8 on AVX2 without VNNI, exactly whatever the codes: both sides are
// widened to 16 bits before vpmaddwd, whose pair sums reach 2 * 255 * 128 and
// fit an int32. For layers whose K comes in parts with sums of their own;
// others run dot_s8u8_avx2.cc.
//
// Codes come widened (code_bytes), so that the loop broadcasts pairs straight
// from memory; weights stay 8 bits wide and are widened on their way into
// registers, once for all rows.

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/dot_u8s8_256_body.h"
#include "kernels/microkernel.h"

namespace octet::kernels {
namespace {

struct Avx2 {
  static constexpr size_t kGroup = 2;
  static constexpr size_t kAhead = 2048;

  static __attribute__((always_inline)) __m256i Weights(const int8_t* b) {
    return _mm256_cvtepi8_epi16(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(b)));
  }

  static __attribute__((always_inline)) void DotAdd(__m256i& sum, __m256i codes,
                                                    __m256i weights) {
    __m256i products;
    asm("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0"
        : "+x"(sum), "=&x"(products)
        : "x"(codes), "x"(weights));
  }
};

}  // namespace

void DotU8S8Avx2_6x16(const DotTile& tile) {
  DotU8S8Of256Bits<Avx2>::Run(tile);
}

}  // namespace octet::kernels
