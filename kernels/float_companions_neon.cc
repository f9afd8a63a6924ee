// For every 64-bit Arm CPU.
#include <arm_neon.h>

#include "kernels/float_companions.h"

#define OCTET_LANES 4
#define OCTET_TILE_ROWS 6  // 24 accumulators + 4 weights + 1 broadcast < 32
#define OCTET_TILE_VECTORS 4

namespace octet::kernels {
namespace {

typedef float Vector __attribute__((vector_size(OCTET_LANES * 4)));

inline Vector Fma(Vector a, Vector b, Vector c) { return vfmaq_f32(c, a, b); }
inline Vector Larger(Vector a, Vector b) { return vmaxq_f32(a, b); }
inline Vector Smaller(Vector a, Vector b) { return vminq_f32(a, b); }
inline Vector LoadFp16(const uint16_t* p) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}

#include "kernels/float_companions_body.h"

}  // namespace

const FloatCompanions kFloatCompanionsNeon = {
    .isa = "neon",
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
