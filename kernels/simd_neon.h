// Four floats in a NEON register. Operations as in simd_scalar.h.
//
// Every 64-bit Arm CPU runs this: FMA, division, rounding to even and FP16
// conversion belong to its base. FMIN and FMAX treat NaN in their own way, so
// Min and Max are comparisons.

#ifndef OCTET_KERNELS_SIMD_NEON_H_
#define OCTET_KERNELS_SIMD_NEON_H_

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace octet::kernels {

struct FloatX4 {
  static constexpr size_t kLanes = 4;

  struct Bits {
    uint32x4_t v;
  };

  float32x4_t v;

  static FloatX4 Set(float x) { return {vdupq_n_f32(x)}; }
  static FloatX4 Load(const float* p) { return {vld1q_f32(p)}; }
  static FloatX4 LoadPart(const float* p, size_t n) {
    float lanes[kLanes] = {};
    std::memcpy(lanes, p, n * sizeof(float));
    return Load(lanes);
  }
  static FloatX4 LoadInt32(const int32_t* p) {
    return {vcvtq_f32_s32(vld1q_s32(p))};
  }
  static FloatX4 LoadFp16(const uint16_t* p) {
    return {vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)))};
  }
  static FloatX4 LoadFp16Part(const uint16_t* p, size_t n) {
    uint16_t lanes[kLanes] = {};
    std::memcpy(lanes, p, n * sizeof(uint16_t));
    return LoadFp16(lanes);
  }
  static FloatX4 LoadBf16(const uint16_t* p) {
    return FromBits({vshll_n_u16(vld1_u16(p), 16)});
  }
  static FloatX4 LoadBf16Part(const uint16_t* p, size_t n) {
    uint16_t lanes[kLanes] = {};
    std::memcpy(lanes, p, n * sizeof(uint16_t));
    return LoadBf16(lanes);
  }
  static FloatX4 LoadByte(const int8_t* p, size_t index, size_t kr,
                          int32_t offset) {
    const int8_t* byte = p + index;
    int8x8_t bytes = vld1_dup_s8(byte);
    bytes = vld1_lane_s8(byte + kr, bytes, 1);
    bytes = vld1_lane_s8(byte + 2 * kr, bytes, 2);
    bytes = vld1_lane_s8(byte + 3 * kr, bytes, 3);
    bytes = veor_s8(bytes, vdup_n_s8(static_cast<int8_t>(offset)));
    const int32x4_t values = vmovl_s16(vget_low_s16(vmovl_s8(bytes)));
    return {vcvtq_f32_s32(values)};
  }
  void Store(float* p) const { vst1q_f32(p, v); }
  void StorePart(float* p, size_t n) const {
    float lanes[kLanes];
    Store(lanes);
    std::memcpy(p, lanes, n * sizeof(float));
  }
  void StoreFp16(uint16_t* p) const {
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v)));
  }
  void StoreFp16Part(uint16_t* p, size_t n) const {
    uint16_t lanes[kLanes];
    StoreFp16(lanes);
    std::memcpy(p, lanes, n * sizeof(uint16_t));
  }
  void StoreBf16(uint16_t* p) const {
    const uint32x4_t bits = vreinterpretq_u32_f32(v);
    const uint32x4_t upper = vshrq_n_u32(bits, 16);
    const uint32x4_t odd = vandq_u32(upper, vdupq_n_u32(1));
    const uint32x4_t half = vaddq_u32(odd, vdupq_n_u32(0x7fff));
    const uint32x4_t rounded = vshrq_n_u32(vaddq_u32(bits, half), 16);
    const uint32x4_t quiet = vorrq_u32(upper, vdupq_n_u32(0x40));
    vst1_u16(p, vmovn_u32(vbslq_u32(vceqq_f32(v, v), rounded, quiet)));
  }
  void StoreBf16Part(uint16_t* p, size_t n) const {
    uint16_t lanes[kLanes];
    StoreBf16(lanes);
    std::memcpy(p, lanes, n * sizeof(uint16_t));
  }
  void StoreCodes(int32_t zero, int32_t flip, uint8_t* p) const {
    StoreCodesPart(zero, flip, p, kLanes);
  }
  void StoreCodesPart(int32_t zero, int32_t flip, uint8_t* p, size_t n) const {
    const FloatX4 repeated[4] = {*this, *this, *this, *this};
    uint8_t codes[4 * kLanes];
    StoreCodes4(repeated, zero, flip, codes);
    std::memcpy(p, codes, n);
  }
  static void StoreCodes4(const FloatX4 (&v)[4], int32_t zero, int32_t flip,
                          uint8_t* p) {
    const int16x8_t add = vdupq_n_s16(static_cast<int16_t>(zero));
    const uint8x16_t codes =
        vcombine_u8(vqmovun_s16(vqaddq_s16(Words(v[0], v[1]), add)),
                    vqmovun_s16(vqaddq_s16(Words(v[2], v[3]), add)));
    vst1q_u8(p, veorq_u8(codes, vdupq_n_u8(static_cast<uint8_t>(flip))));
  }
  static void StoreSigned4(const FloatX4 (&v)[4], int32_t flip, uint8_t* p) {
    const int8x16_t codes = vcombine_s8(vqmovn_s16(Words(v[0], v[1])),
                                        vqmovn_s16(Words(v[2], v[3])));
    vst1q_u8(p, veorq_u8(vreinterpretq_u8_s8(codes),
                         vdupq_n_u8(static_cast<uint8_t>(flip))));
  }

  friend FloatX4 operator+(FloatX4 a, FloatX4 b) {
    return {vaddq_f32(a.v, b.v)};
  }
  friend FloatX4 operator-(FloatX4 a, FloatX4 b) {
    return {vsubq_f32(a.v, b.v)};
  }
  friend FloatX4 operator*(FloatX4 a, FloatX4 b) {
    return {vmulq_f32(a.v, b.v)};
  }
  friend FloatX4 operator/(FloatX4 a, FloatX4 b) {
    return {vdivq_f32(a.v, b.v)};
  }
  static FloatX4 Fma(FloatX4 a, FloatX4 b, FloatX4 c) {
    return {vfmaq_f32(c.v, a.v, b.v)};
  }
  static FloatX4 Min(FloatX4 a, FloatX4 b) { return IfLess(a, b, a, b); }
  static FloatX4 Max(FloatX4 a, FloatX4 b) { return IfLess(b, a, a, b); }
  static FloatX4 Abs(FloatX4 a) { return {vabsq_f32(a.v)}; }
  static FloatX4 CopySign(FloatX4 magnitude, FloatX4 sign) {
    return {vbslq_f32(vdupq_n_u32(0x80000000), sign.v, magnitude.v)};
  }
  static FloatX4 IfLess(FloatX4 a, FloatX4 b, FloatX4 yes, FloatX4 no) {
    return {vbslq_f32(vcltq_f32(a.v, b.v), yes.v, no.v)};
  }
  static FloatX4 PowerOfTwo(FloatX4 shifted) {
    const uint32x4_t n = vshlq_n_u32(vreinterpretq_u32_f32(shifted.v), 23);
    return FromBits({vaddq_u32(n, vdupq_n_u32(0x3f800000))});
  }

  // Lane i and its partner i ^ d become their sum (lower one) and difference.
  // The products are exact, so the sums are rounded once, as if plain.
  template <size_t kDistance>
  static FloatX4 Butterfly(FloatX4 a) {
    constexpr float kSigns[kLanes] = {1.0F, kDistance == 1 ? -1.0F : 1.0F,
                                      kDistance == 2 ? -1.0F : 1.0F, -1.0F};
    const float32x4_t swapped =
        kDistance == 1 ? vrev64q_f32(a.v) : vextq_f32(a.v, a.v, 2);
    return Fma(a, Load(kSigns), {swapped});
  }

  static Bits SetBits(uint32_t bits) { return {vdupq_n_u32(bits)}; }
  static Bits LoadBits(const uint32_t* p) { return {vld1q_u32(p)}; }
  static Bits LoadBitsPart(const uint32_t* p, size_t n) {
    uint32_t lanes[kLanes] = {};
    std::memcpy(lanes, p, n * sizeof(uint32_t));
    return LoadBits(lanes);
  }
  static Bits AbsBits(FloatX4 a) {
    return {vandq_u32(vreinterpretq_u32_f32(a.v), vdupq_n_u32(0x7fffffff))};
  }
  static Bits MaxBits(Bits a, Bits b) { return {vmaxq_u32(a.v, b.v)}; }
  static FloatX4 And(FloatX4 a, Bits mask) {
    return FromBits({vandq_u32(vreinterpretq_u32_f32(a.v), mask.v)});
  }
  static FloatX4 ZeroFrom(FloatX4 a, Bits limit) {
    return And(a, {vcltq_u32(AbsBits(a).v, limit.v)});
  }
  static uint32_t Largest(Bits a) { return vmaxvq_u32(a.v); }
  static FloatX4 FromBits(Bits bits) { return {vreinterpretq_f32_u32(bits.v)}; }

 private:
  static int16x8_t Words(FloatX4 a, FloatX4 b) {
    return vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(a.v)),
                        vqmovn_s32(vcvtnq_s32_f32(b.v)));
  }
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_SIMD_NEON_H_
