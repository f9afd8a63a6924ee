// Compiled with -mavx512f -mavx512bw -mavx512vl -mavx512dq; called where the
// CPU has them.
#include <immintrin.h>

#include "kernels/float_companions.h"

#define OCTET_LANES 16
#define OCTET_TILE_ROWS 6  // 24 accumulators + 4 weights + 1 broadcast < 32
#define OCTET_TILE_VECTORS 4

namespace octet::kernels {
namespace {

typedef float Vector __attribute__((vector_size(OCTET_LANES * 4)));

inline Vector Fma(Vector a, Vector b, Vector c) {
  return _mm512_fmadd_ps(a, b, c);
}
// All lanes by mask: GCC 12 warns about the unmasked form (its bug 105593).
inline Vector Larger(Vector a, Vector b) {
  return _mm512_maskz_max_ps(0xFFFF, a, b);
}
inline Vector Smaller(Vector a, Vector b) {
  return _mm512_maskz_min_ps(0xFFFF, a, b);
}
inline Vector LoadFp16(const uint16_t* p) {
  return _mm512_maskz_cvtph_ps(
      0xFFFF, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

#include "kernels/float_companions_body.h"

}  // namespace

const FloatCompanions kFloatCompanionsAvx512 = {
    .isa = "avx512",
    .panel_cols = kPanel,
    .panel_fp32 = Panel<float>,
    .panel_fp16 = Panel<Fp16>,
    .panel_bf16 = Panel<Bf16>,
    .attention = Attend,
    .attention_scratch = AttentionScratchSize,
    .layer_norm = LayerNormRow,
    .rms_norm = RmsNormRow,
};

}  // namespace octet::kernels
