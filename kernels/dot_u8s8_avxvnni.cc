// u8 x s8 on CPUs with AVX-VNNI: vpdpbusd in VEX encoding.

#include <immintrin.h>

#include "kernels/dot_u8s8_vnni256_body.h"
#include "kernels/microkernel.h"

namespace octet::kernels {
namespace {

struct Vex {
  static __attribute__((always_inline)) void DotAdd(__m256i& sum, __m256i codes,
                                                    __m256i weights) {
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(codes), "x"(weights));
  }
};

}  // namespace

void DotU8S8AvxVnni_6x16(const DotTile& tile) {
  DotU8S8Vnni256<Vex>::Run(tile);
}

}  // namespace octet::kernels
