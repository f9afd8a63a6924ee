// Compiled with -mavx2 -mfma -mf16c; called where the CPU has them.
#include <immintrin.h>

#include "kernels/float_companions.h"

#define OCTET_LANES 8
#define OCTET_TILE_ROWS 6  // 12 accumulators + 2 weights + 1 broadcast < 16
#define OCTET_TILE_VECTORS 2

namespace octet::kernels {
namespace {

typedef float Vector __attribute__((vector_size(OCTET_LANES * 4)));

inline Vector Fma(Vector a, Vector b, Vector c) {
  return _mm256_fmadd_ps(a, b, c);
}
inline Vector Larger(Vector a, Vector b) { return _mm256_max_ps(a, b); }
inline Vector Smaller(Vector a, Vector b) { return _mm256_min_ps(a, b); }
inline Vector LoadFp16(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

#include "kernels/float_companions_body.h"

}  // namespace

const FloatCompanions kFloatCompanionsAvx2 = {
    .isa = "avx2",
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
