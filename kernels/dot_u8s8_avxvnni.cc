// u8 x s8 on CPUs with AVX-VNNI: vpdpbusd in VEX encoding.

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/dot_u8s8_256_body.h"
#include "kernels/instruction.h"
#include "kernels/microkernel.h"

namespace octet::kernels {
namespace {

struct Vex {
  static constexpr size_t kGroup = 4;
  static constexpr size_t kAhead = 8192;

  static __attribute__((always_inline)) __m256i Weights(const int8_t* b) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b));
  }

  static __attribute__((always_inline)) void DotAdd(__m256i& sum, __m256i codes,
                                                    __m256i weights) {
    OCTET_INSTRUCTION(sum = _mm256_dpbusd_epi32(sum, codes, weights),
                      "%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(codes),
                      "x"(weights));
  }
};

}  // namespace

void DotU8S8AvxVnni_6x16(const DotTile& tile) {
  DotU8S8Of256Bits<Vex>::Run(tile);
}

}  // namespace octet::kernels
