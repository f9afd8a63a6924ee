// One float, with the operations that every vector type here has.
//
//   Min(a, b) = a < b ? a : b      Max(a, b) = a > b ? a : b
//
// so that a NaN in b comes through, as in the x86 instructions.

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
  // Byte `index` of each group of `kr`, which is 2, 4 or 8.
  static FloatX1 LoadByte(const int8_t* p, size_t index, size_t) {
    return {static_cast<float>(p[index])};
  }
  void Store(float* p) const { *p = v; }
  void StorePart(float* p, size_t) const { *p = v; }
  // Whole numbers are expected to fit after `offset` is added.
  void StoreCodes(int32_t offset, uint8_t* p) const {
    *p = static_cast<uint8_t>(static_cast<int32_t>(std::nearbyint(v)) + offset);
  }
  void StoreCodesPart(int32_t offset, uint8_t* p, size_t) const {
    StoreCodes(offset, p);
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
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_SIMD_SCALAR_H_
