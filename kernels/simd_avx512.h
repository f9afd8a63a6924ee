// Sixteen floats in a ZMM register. Operations as in simd_scalar.h.
//
// Only sources compiled for AVX-512 include this.

#ifndef OCTET_KERNELS_SIMD_AVX512_H_
#define OCTET_KERNELS_SIMD_AVX512_H_

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace octet::kernels {

struct FloatX16 {
  static constexpr size_t kLanes = 16;

  struct Bits {
    __m512i v;
  };

  __m512 v;

  static FloatX16 Set(float x) { return {_mm512_set1_ps(x)}; }
  static FloatX16 Load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static FloatX16 LoadPart(const float* p, size_t n) {
    return {_mm512_maskz_loadu_ps(FirstLanes(n), p)};
  }
  static FloatX16 LoadInt32(const int32_t* p) {
    return {_mm512_cvtepi32_ps(_mm512_loadu_si512(p))};
  }
  static FloatX16 LoadFp16(const uint16_t* p) {
    return {_mm512_cvtph_ps(
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  static FloatX16 LoadByte(const int8_t* p, size_t index, size_t kr,
                           int32_t offset) {
    const __m512i lane =
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i stride = _mm512_set1_epi32(static_cast<int32_t>(kr / 4));
    // The four bytes of each group that hold `index`.
    const __m512i groups =
        kr == 4 ? _mm512_loadu_si512(p)
                : _mm512_i32gather_epi32(_mm512_mullo_epi32(lane, stride),
                                         p + (index & ~size_t{3}), 4);
    const __m128i up = _mm_cvtsi32_si128(24 - 8 * static_cast<int>(index % 4));
    const __m512i top = _mm512_xor_si512(_mm512_sll_epi32(groups, up),
                                         _mm512_set1_epi32(offset << 24));
    return {_mm512_cvtepi32_ps(_mm512_srai_epi32(top, 24))};
  }
  static FloatX16 LoadFp16Part(const uint16_t* p, size_t n) {
    return {_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(FirstLanes(n), p))};
  }
  static FloatX16 LoadBf16(const uint16_t* p) {
    return FromUpper(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static FloatX16 LoadBf16Part(const uint16_t* p, size_t n) {
    return FromUpper(_mm256_maskz_loadu_epi16(FirstLanes(n), p));
  }
  void Store(float* p) const { _mm512_storeu_ps(p, v); }
  void StorePart(float* p, size_t n) const {
    _mm512_mask_storeu_ps(p, FirstLanes(n), v);
  }
  void StoreFp16(uint16_t* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), Fp16());
  }
  void StoreFp16Part(uint16_t* p, size_t n) const {
    _mm256_mask_storeu_epi16(p, FirstLanes(n), Fp16());
  }
  void StoreBf16(uint16_t* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), Bf16());
  }
  void StoreBf16Part(uint16_t* p, size_t n) const {
    _mm256_mask_storeu_epi16(p, FirstLanes(n), Bf16());
  }
  void StoreCodes(int32_t zero, int32_t flip, uint8_t* p) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), Codes(zero, flip));
  }
  void StoreCodesPart(int32_t zero, int32_t flip, uint8_t* p, size_t n) const {
    _mm_mask_storeu_epi8(p, FirstLanes(n), Codes(zero, flip));
  }
  static void StoreCodes4(const FloatX16 (&v)[4], int32_t zero, int32_t flip,
                          uint8_t* p) {
    const __m512i add = _mm512_set1_epi16(static_cast<int16_t>(zero));
    const __m512i codes =
        _mm512_packus_epi16(_mm512_adds_epi16(Words(v[0], v[1]), add),
                            _mm512_adds_epi16(Words(v[2], v[3]), add));
    StoreInterleaved(codes, flip, p);
  }
  static void StoreSigned4(const FloatX16 (&v)[4], int32_t flip, uint8_t* p) {
    StoreInterleaved(_mm512_packs_epi16(Words(v[0], v[1]), Words(v[2], v[3])),
                     flip, p);
  }

  friend FloatX16 operator+(FloatX16 a, FloatX16 b) {
    return {_mm512_add_ps(a.v, b.v)};
  }
  friend FloatX16 operator-(FloatX16 a, FloatX16 b) {
    return {_mm512_sub_ps(a.v, b.v)};
  }
  friend FloatX16 operator*(FloatX16 a, FloatX16 b) {
    return {_mm512_mul_ps(a.v, b.v)};
  }
  friend FloatX16 operator/(FloatX16 a, FloatX16 b) {
    return {_mm512_div_ps(a.v, b.v)};
  }
  static FloatX16 Fma(FloatX16 a, FloatX16 b, FloatX16 c) {
    return {_mm512_fmadd_ps(a.v, b.v, c.v)};
  }
  static FloatX16 Min(FloatX16 a, FloatX16 b) {
    return {_mm512_min_ps(a.v, b.v)};
  }
  static FloatX16 Max(FloatX16 a, FloatX16 b) {
    return {_mm512_max_ps(a.v, b.v)};
  }
  static FloatX16 Abs(FloatX16 a) {
    return {_mm512_castsi512_ps(AbsBits(a).v)};
  }
  static FloatX16 CopySign(FloatX16 magnitude, FloatX16 sign) {
    const __m512 bit = _mm512_set1_ps(-0.0F);
    return {_mm512_or_ps(_mm512_andnot_ps(bit, magnitude.v),
                         _mm512_and_ps(bit, sign.v))};
  }
  static FloatX16 IfLess(FloatX16 a, FloatX16 b, FloatX16 yes, FloatX16 no) {
    return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), no.v,
                                 yes.v)};
  }
  static FloatX16 PowerOfTwo(FloatX16 shifted) {
    const __m512i n = _mm512_slli_epi32(_mm512_castps_si512(shifted.v), 23);
    return {_mm512_castsi512_ps(
        _mm512_add_epi32(n, _mm512_set1_epi32(0x3f800000)))};
  }

  // Lane i and its partner i ^ d become their sum (lower one) and difference.
  // The products are exact, so the sums are rounded once, as if plain.
  template <size_t kDistance>
  static FloatX16 Butterfly(FloatX16 a) {
    constexpr uint32_t kUppers[4] = {0xaaaa, 0xcccc, 0xf0f0, 0xff00};
    constexpr size_t kStage = kDistance == 8 ? 3 : kDistance / 2;
    __m512 swapped;
    if constexpr (kDistance == 1) swapped = _mm512_permute_ps(a.v, 0xb1);
    if constexpr (kDistance == 2) swapped = _mm512_permute_ps(a.v, 0x4e);
    if constexpr (kDistance == 4) {
      swapped = _mm512_shuffle_f32x4(a.v, a.v, 0xb1);
    }
    if constexpr (kDistance == 8) {
      swapped = _mm512_shuffle_f32x4(a.v, a.v, 0x4e);
    }
    const __m512 signs =
        _mm512_mask_blend_ps(static_cast<__mmask16>(kUppers[kStage]),
                             _mm512_set1_ps(1.0F), _mm512_set1_ps(-1.0F));
    return {_mm512_fmadd_ps(a.v, signs, swapped)};
  }

  static Bits SetBits(uint32_t bits) {
    return {_mm512_set1_epi32(static_cast<int32_t>(bits))};
  }
  static Bits LoadBits(const uint32_t* p) { return {_mm512_loadu_si512(p)}; }
  static Bits LoadBitsPart(const uint32_t* p, size_t n) {
    return {_mm512_maskz_loadu_epi32(FirstLanes(n), p)};
  }
  static Bits AbsBits(FloatX16 a) {
    return {_mm512_and_si512(_mm512_castps_si512(a.v),
                             _mm512_set1_epi32(0x7fffffff))};
  }
  static Bits MaxBits(Bits a, Bits b) { return {_mm512_max_epi32(a.v, b.v)}; }
  static FloatX16 And(FloatX16 a, Bits mask) {
    return {_mm512_castsi512_ps(
        _mm512_and_si512(_mm512_castps_si512(a.v), mask.v))};
  }
  static FloatX16 ZeroFrom(FloatX16 a, Bits limit) {
    return {_mm512_maskz_mov_ps(_mm512_cmplt_epi32_mask(AbsBits(a).v, limit.v),
                                a.v)};
  }
  static uint32_t Largest(Bits a) {
    return static_cast<uint32_t>(_mm512_reduce_max_epi32(a.v));
  }

 private:
  static __mmask16 FirstLanes(size_t n) {
    return static_cast<__mmask16>((1U << n) - 1);
  }
  __m128i Codes(int32_t zero, int32_t flip) const {
    const __m512i codes =
        _mm512_add_epi32(_mm512_cvtps_epi32(v), _mm512_set1_epi32(zero));
    return _mm_xor_si128(
        _mm512_cvtusepi32_epi8(_mm512_max_epi32(codes, _mm512_setzero_si512())),
        _mm_set1_epi8(static_cast<char>(flip)));
  }
  static __m512i Words(FloatX16 a, FloatX16 b) {
    return _mm512_packs_epi32(_mm512_cvtps_epi32(a.v), _mm512_cvtps_epi32(b.v));
  }
  // Packing interleaves the vectors by quarters; the permutation undoes it.
  static void StoreInterleaved(__m512i codes, int32_t flip, uint8_t* p) {
    const __m512i order =
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    _mm512_storeu_si512(
        p, _mm512_xor_si512(_mm512_permutexvar_epi32(order, codes),
                            _mm512_set1_epi8(static_cast<char>(flip))));
  }
  static FloatX16 FromUpper(__m256i shorts) {
    return {_mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(shorts), 16))};
  }
  __m256i Fp16() const {
    return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  // In integers: vcvtneps2bf16 takes denormals for zeros.
  __m256i Bf16() const {
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i upper = _mm512_srli_epi32(bits, 16);
    const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_srli_epi32(
        _mm512_add_epi32(bits,
                         _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))),
        16);
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    return _mm512_cvtepi32_epi16(
        _mm512_mask_or_epi32(rounded, nan, upper, _mm512_set1_epi32(0x40)));
  }
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_SIMD_AVX512_H_
