// Four lanes and no fused multiply-add by name: SSE2, NEON, whatever there is.
#include "kernels/float_companions.h"

#define OCTET_LANES 4
#define OCTET_TILE_ROWS 4  // 8 accumulators + 2 weights + 1 broadcast < 16
#define OCTET_TILE_VECTORS 2

namespace octet::kernels {
namespace {

typedef float Vector __attribute__((vector_size(OCTET_LANES * 4)));

inline Vector Fma(Vector a, Vector b, Vector c) { return a * b + c; }
inline Vector Larger(Vector a, Vector b) { return a > b ? a : b; }
inline Vector Smaller(Vector a, Vector b) { return a < b ? a : b; }

// The exponent is moved by a multiplication, which is exact and right for
// subnormal numbers too; infinities and NaN get theirs back.
inline float WidenFp16(uint32_t bits) {
  const uint32_t magnitude = bits & 0x7FFF;
  const float value = __builtin_bit_cast(float, magnitude << 13) * 0x1p112F;
  uint32_t wide = __builtin_bit_cast(uint32_t, value);
  if (magnitude >= 0x7C00) wide |= 0x7F800000;
  return __builtin_bit_cast(float, wide | (bits & 0x8000) << 16);
}
inline Vector LoadFp16(const uint16_t* p) {
  return Vector{WidenFp16(p[0]), WidenFp16(p[1]), WidenFp16(p[2]),
                WidenFp16(p[3])};
}

#include "kernels/float_companions_body.h"

}  // namespace

const FloatCompanions kFloatCompanionsGeneric = {
    .isa = "generic",
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
