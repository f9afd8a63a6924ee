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
  static FloatX4 LoadByte(const int8_t* p, size_t index, size_t kr) {
    const int8_t* byte = p + index;
    int32x4_t values = vdupq_n_s32(byte[0]);
    values = vsetq_lane_s32(byte[kr], values, 1);
    values = vsetq_lane_s32(byte[2 * kr], values, 2);
    values = vsetq_lane_s32(byte[3 * kr], values, 3);
    return {vcvtq_f32_s32(values)};
  }
  void Store(float* p) const { vst1q_f32(p, v); }
  void StorePart(float* p, size_t n) const {
    float lanes[kLanes];
    Store(lanes);
    std::memcpy(p, lanes, n * sizeof(float));
  }
  void StoreCodes(int32_t offset, uint8_t* p) const {
    StoreCodesPart(offset, p, kLanes);
  }
  void StoreCodesPart(int32_t offset, uint8_t* p, size_t n) const {
    const uint32_t codes = Codes(offset);
    std::memcpy(p, &codes, n);
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
  // Four bytes. Narrowing keeps the low bits, so s8 codes come out as well.
  uint32_t Codes(int32_t offset) const {
    const int32x4_t codes = vaddq_s32(vcvtnq_s32_f32(v), vdupq_n_s32(offset));
    const uint16x4_t words = vmovn_u32(vreinterpretq_u32_s32(codes));
    const uint8x8_t bytes = vmovn_u16(vcombine_u16(words, words));
    return vget_lane_u32(vreinterpret_u32_u8(bytes), 0);
  }
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_SIMD_NEON_H_
