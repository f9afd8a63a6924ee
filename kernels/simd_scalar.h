// One float, with the operations that every vector type here has.
//
//   Load, LoadInt32, LoadFp16, LoadBf16, LoadByte     Set
//   Store, StoreFp16, StoreBf16, StoreCodes, StoreCodes4, StoreSigned4
//   + - * /   Fma   Min, Max   Abs, CopySign   IfLess   PowerOfTwo
//   Butterfly<d>, for d = 1, 2, 4, ... < kLanes
//   SetBits, LoadBits, AbsBits, MaxBits, And, ZeroFrom, Largest
//
// A ...Part(p, n) touches the first n < kLanes elements only, the others load
// as 0. With one lane there is never a part.
//
//   Min(a, b) = a < b ? a : b      Max(a, b) = a > b ? a : b
//
// so that a NaN in b comes through, as in the x86 instructions. 16-bit floats
// are rounded half to even, denormals included, and a NaN keeps its sign and
// upper payload and becomes quiet: the rule of half.h.

#ifndef OCTET_KERNELS_SIMD_SCALAR_H_
#define OCTET_KERNELS_SIMD_SCALAR_H_

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "kernels/half.h"

namespace octet::kernels {

struct FloatX1 {
  static constexpr size_t kLanes = 1;

  struct Bits {
    uint32_t v;
  };

  float v;

  static FloatX1 Set(float x) { return {x}; }
  static FloatX1 Load(const float* p) { return {*p}; }
  static FloatX1 LoadPart(const float* p, size_t) { return {*p}; }
  static FloatX1 LoadInt32(const int32_t* p) {
    return {static_cast<float>(*p)};
  }
  static FloatX1 LoadFp16(const uint16_t* p) { return {Fp16ToFloat(*p)}; }
  static FloatX1 LoadFp16Part(const uint16_t* p, size_t) { return LoadFp16(p); }
  static FloatX1 LoadBf16(const uint16_t* p) { return {Bf16ToFloat(*p)}; }
  static FloatX1 LoadBf16Part(const uint16_t* p, size_t) { return LoadBf16(p); }
  // Byte `index` of each group of `kr`, which is 2, 4 or 8, less the `offset`
  // of 0 or 128.
  static FloatX1 LoadByte(const int8_t* p, size_t index, size_t,
                          int32_t offset) {
    return {static_cast<float>(static_cast<int8_t>(p[index] ^ offset))};
  }
  void Store(float* p) const { *p = v; }
  void StorePart(float* p, size_t) const { *p = v; }
  void StoreFp16(uint16_t* p) const { *p = FloatToFp16(v); }
  void StoreFp16Part(uint16_t* p, size_t) const { StoreFp16(p); }
  void StoreBf16(uint16_t* p) const { *p = FloatToBf16(v); }
  void StoreBf16Part(uint16_t* p, size_t) const { StoreBf16(p); }
  // byte = clamp(round_half_even(v) + zero, 0, 255) ^ flip, of v <= 2^30 that
  // is no NaN, and zero in [0, 255].
  void StoreCodes(int32_t zero, int32_t flip, uint8_t* p) const {
    const float code = std::nearbyint(v) + static_cast<float>(zero);
    *p = static_cast<uint8_t>(static_cast<int32_t>(Bounded(code)) ^ flip);
  }
  void StoreCodesPart(int32_t zero, int32_t flip, uint8_t* p, size_t) const {
    StoreCodes(zero, flip, p);
  }
  // Four vectors, one after the other: cheaper than one at a time.
  static void StoreCodes4(const FloatX1 (&v)[4], int32_t zero, int32_t flip,
                          uint8_t* p) {
    for (size_t i = 0; i < 4; ++i) v[i].StoreCodes(zero, flip, p + i);
  }
  // byte = round_half_even(v) ^ flip, of v that rounds to -128 ... 127.
  static void StoreSigned4(const FloatX1 (&v)[4], int32_t flip, uint8_t* p) {
    for (size_t i = 0; i < 4; ++i) {
      const auto code = static_cast<int32_t>(std::nearbyint(v[i].v));
      p[i] = static_cast<uint8_t>(code ^ flip);
    }
  }

  friend FloatX1 operator+(FloatX1 a, FloatX1 b) { return {a.v + b.v}; }
  friend FloatX1 operator-(FloatX1 a, FloatX1 b) { return {a.v - b.v}; }
  friend FloatX1 operator*(FloatX1 a, FloatX1 b) { return {a.v * b.v}; }
  friend FloatX1 operator/(FloatX1 a, FloatX1 b) { return {a.v / b.v}; }
  static FloatX1 Fma(FloatX1 a, FloatX1 b, FloatX1 c) {
    return {std::fma(a.v, b.v, c.v)};
  }
  static FloatX1 Min(FloatX1 a, FloatX1 b) { return {a.v < b.v ? a.v : b.v}; }
  static FloatX1 Max(FloatX1 a, FloatX1 b) { return {a.v > b.v ? a.v : b.v}; }
  static FloatX1 Abs(FloatX1 a) { return FromBits({AbsBits(a).v}); }
  static FloatX1 CopySign(FloatX1 magnitude, FloatX1 sign) {
    return {std::copysign(magnitude.v, sign.v)};
  }
  // yes where a < b, else no.
  static FloatX1 IfLess(FloatX1 a, FloatX1 b, FloatX1 yes, FloatX1 no) {
    return a.v < b.v ? yes : no;
  }
  // 2^n, where n was rounded by adding 1.5 * 2^23.
  static FloatX1 PowerOfTwo(FloatX1 shifted) {
    const auto n = std::bit_cast<uint32_t>(shifted.v);
    return FromBits({(n << 23) + 0x3f800000});
  }

  static Bits SetBits(uint32_t bits) { return {bits}; }
  static Bits LoadBits(const uint32_t* p) { return {*p}; }
  static Bits LoadBitsPart(const uint32_t* p, size_t) { return {*p}; }
  static Bits AbsBits(FloatX1 a) {
    return {std::bit_cast<uint32_t>(a.v) & 0x7fffffff};
  }
  static Bits MaxBits(Bits a, Bits b) { return {a.v > b.v ? a.v : b.v}; }
  static FloatX1 And(FloatX1 a, Bits mask) {
    return FromBits({std::bit_cast<uint32_t>(a.v) & mask.v});
  }
  // a where its magnitude's bits are below `limit`, else 0.
  static FloatX1 ZeroFrom(FloatX1 a, Bits limit) {
    return {AbsBits(a).v < limit.v ? a.v : 0.0F};
  }
  static uint32_t Largest(Bits a) { return a.v; }
  static FloatX1 FromBits(Bits bits) { return {std::bit_cast<float>(bits.v)}; }

 private:
  static float Bounded(float code) {
    if (!(code >= 0.0F)) return 0.0F;  // NaN too
    return code > 255.0F ? 255.0F : code;
  }
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_SIMD_SCALAR_H_
