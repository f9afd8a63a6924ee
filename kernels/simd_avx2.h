// Eight floats in a YMM register. Operations as in simd_scalar.h.
//
// Only sources compiled for AVX2 include this. Bits are compared as signed
// integers: every value here has a clear sign bit.

#ifndef OCTET_KERNELS_SIMD_AVX2_H_
#define OCTET_KERNELS_SIMD_AVX2_H_

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace octet::kernels {

struct FloatX8 {
  static constexpr size_t kLanes = 8;

  struct Bits {
    __m256i v;
  };

  __m256 v;

  static FloatX8 Set(float x) { return {_mm256_set1_ps(x)}; }
  static FloatX8 Load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static FloatX8 LoadPart(const float* p, size_t n) {
    return {_mm256_maskload_ps(p, FirstLanes(n))};
  }
  static FloatX8 LoadInt32(const int32_t* p) {
    return {_mm256_cvtepi32_ps(
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  static FloatX8 LoadFp16(const uint16_t* p) {
    return {
        _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }
  static FloatX8 LoadByte(const int8_t* p, size_t index, size_t kr,
                          int32_t offset) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i stride = _mm256_set1_epi32(static_cast<int32_t>(kr / 4));
    // The four bytes of each group that hold `index`.
    const __m256i groups =
        kr == 2 ? _mm256_cvtepi16_epi32(
                      _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))
        : kr == 4 ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))
                  : _mm256_i32gather_epi32(
                        reinterpret_cast<const int*>(p + (index & ~size_t{3})),
                        _mm256_mullo_epi32(lane, stride), 4);
    const __m128i up = _mm_cvtsi32_si128(24 - 8 * static_cast<int>(index % 4));
    const __m256i top = _mm256_xor_si256(_mm256_sll_epi32(groups, up),
                                         _mm256_set1_epi32(offset << 24));
    return {_mm256_cvtepi32_ps(_mm256_srai_epi32(top, 24))};
  }
  static FloatX8 LoadFp16Part(const uint16_t* p, size_t n) {
    const Shorts part = ShortsPart(p, n);
    return LoadFp16(part.v);
  }
  static FloatX8 LoadBf16(const uint16_t* p) {
    const __m128i shorts = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(shorts), 16))};
  }
  static FloatX8 LoadBf16Part(const uint16_t* p, size_t n) {
    const Shorts part = ShortsPart(p, n);
    return LoadBf16(part.v);
  }
  void Store(float* p) const { _mm256_storeu_ps(p, v); }
  void StorePart(float* p, size_t n) const {
    _mm256_maskstore_ps(p, FirstLanes(n), v);
  }
  void StoreFp16(uint16_t* p) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
  void StoreFp16Part(uint16_t* p, size_t n) const {
    Shorts whole;
    StoreFp16(whole.v);
    for (size_t i = 0; i < n; ++i) p[i] = whole.v[i];
  }
  // In integers: hardware's conversion takes denormals for zeros.
  void StoreBf16(uint16_t* p) const {
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i upper = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_srli_epi32(
        _mm256_add_epi32(bits,
                         _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))),
        16);
    const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    const __m256i words = _mm256_blendv_epi8(rounded, quiet, nan);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm_packus_epi32(_mm256_castsi256_si128(words),
                                      _mm256_extracti128_si256(words, 1)));
  }
  void StoreBf16Part(uint16_t* p, size_t n) const {
    Shorts whole;
    StoreBf16(whole.v);
    for (size_t i = 0; i < n; ++i) p[i] = whole.v[i];
  }
  void StoreCodes(int32_t zero, int32_t flip, uint8_t* p) const {
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), Codes(zero, flip));
  }
  void StoreCodesPart(int32_t zero, int32_t flip, uint8_t* p, size_t n) const {
    alignas(16) uint8_t codes[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(codes), Codes(zero, flip));
    for (size_t i = 0; i < n; ++i) p[i] = codes[i];
  }
  static void StoreCodes4(const FloatX8 (&v)[4], int32_t zero, int32_t flip,
                          uint8_t* p) {
    const __m256i add = _mm256_set1_epi16(static_cast<int16_t>(zero));
    const __m256i codes =
        _mm256_packus_epi16(_mm256_adds_epi16(Words(v[0], v[1]), add),
                            _mm256_adds_epi16(Words(v[2], v[3]), add));
    StoreInterleaved(codes, flip, p);
  }
  static void StoreSigned4(const FloatX8 (&v)[4], int32_t flip, uint8_t* p) {
    StoreInterleaved(_mm256_packs_epi16(Words(v[0], v[1]), Words(v[2], v[3])),
                     flip, p);
  }

  friend FloatX8 operator+(FloatX8 a, FloatX8 b) {
    return {_mm256_add_ps(a.v, b.v)};
  }
  friend FloatX8 operator-(FloatX8 a, FloatX8 b) {
    return {_mm256_sub_ps(a.v, b.v)};
  }
  friend FloatX8 operator*(FloatX8 a, FloatX8 b) {
    return {_mm256_mul_ps(a.v, b.v)};
  }
  friend FloatX8 operator/(FloatX8 a, FloatX8 b) {
    return {_mm256_div_ps(a.v, b.v)};
  }
  static FloatX8 Fma(FloatX8 a, FloatX8 b, FloatX8 c) {
    return {_mm256_fmadd_ps(a.v, b.v, c.v)};
  }
  static FloatX8 Min(FloatX8 a, FloatX8 b) { return {_mm256_min_ps(a.v, b.v)}; }
  static FloatX8 Max(FloatX8 a, FloatX8 b) { return {_mm256_max_ps(a.v, b.v)}; }
  static FloatX8 Abs(FloatX8 a) { return {_mm256_castsi256_ps(AbsBits(a).v)}; }
  static FloatX8 CopySign(FloatX8 magnitude, FloatX8 sign) {
    const __m256 bit = _mm256_set1_ps(-0.0F);
    return {_mm256_or_ps(_mm256_andnot_ps(bit, magnitude.v),
                         _mm256_and_ps(bit, sign.v))};
  }
  static FloatX8 IfLess(FloatX8 a, FloatX8 b, FloatX8 yes, FloatX8 no) {
    return {_mm256_blendv_ps(no.v, yes.v, _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ))};
  }
  static FloatX8 PowerOfTwo(FloatX8 shifted) {
    const __m256i n = _mm256_slli_epi32(_mm256_castps_si256(shifted.v), 23);
    return {_mm256_castsi256_ps(
        _mm256_add_epi32(n, _mm256_set1_epi32(0x3f800000)))};
  }

  // Lane i and its partner i ^ d become their sum (lower one) and difference.
  // The products are exact, so the sums are rounded once, as if plain.
  template <size_t kDistance>
  static FloatX8 Butterfly(FloatX8 a) {
    __m256 swapped;
    if constexpr (kDistance == 1) swapped = _mm256_permute_ps(a.v, 0xb1);
    if constexpr (kDistance == 2) swapped = _mm256_permute_ps(a.v, 0x4e);
    if constexpr (kDistance == 4) {
      swapped = _mm256_permute2f128_ps(a.v, a.v, 0x01);
    }
    const __m256 signs = _mm256_setr_ps(
        Sign(0 & kDistance), Sign(1 & kDistance), Sign(2 & kDistance),
        Sign(3 & kDistance), Sign(4 & kDistance), Sign(5 & kDistance),
        Sign(6 & kDistance), Sign(7 & kDistance));
    return {_mm256_fmadd_ps(a.v, signs, swapped)};
  }

  static Bits SetBits(uint32_t bits) {
    return {_mm256_set1_epi32(static_cast<int32_t>(bits))};
  }
  static Bits LoadBits(const uint32_t* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
  }
  static Bits LoadBitsPart(const uint32_t* p, size_t n) {
    return {
        _mm256_maskload_epi32(reinterpret_cast<const int*>(p), FirstLanes(n))};
  }
  static Bits AbsBits(FloatX8 a) {
    return {_mm256_and_si256(_mm256_castps_si256(a.v),
                             _mm256_set1_epi32(0x7fffffff))};
  }
  static Bits MaxBits(Bits a, Bits b) { return {_mm256_max_epi32(a.v, b.v)}; }
  static FloatX8 And(FloatX8 a, Bits mask) {
    return {_mm256_and_ps(a.v, _mm256_castsi256_ps(mask.v))};
  }
  static FloatX8 ZeroFrom(FloatX8 a, Bits limit) {
    return And(a, {_mm256_cmpgt_epi32(limit.v, AbsBits(a).v)});
  }
  static uint32_t Largest(Bits a) {
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(a.v),
                              _mm256_extracti128_si256(a.v, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
    return static_cast<uint32_t>(_mm_cvtsi128_si32(m));
  }

 private:
  static __m256i FirstLanes(size_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int32_t>(n)),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  __m128i Codes(int32_t zero, int32_t flip) const {
    const __m256i words = _mm256_adds_epi16(
        Words(*this, *this), _mm256_set1_epi16(static_cast<int16_t>(zero)));
    const __m128i ordered =
        _mm256_castsi256_si128(_mm256_permute4x64_epi64(words, 0x08));
    return _mm_xor_si128(_mm_packus_epi16(ordered, ordered),
                         _mm_set1_epi8(static_cast<char>(flip)));
  }
  static __m256i Words(FloatX8 a, FloatX8 b) {
    return _mm256_packs_epi32(_mm256_cvtps_epi32(a.v), _mm256_cvtps_epi32(b.v));
  }

  // Packing interleaves the vectors by halves; the permutation undoes it.
  static void StoreInterleaved(__m256i codes, int32_t flip, uint8_t* p) {
    const __m256i ordered = _mm256_permutevar8x32_epi32(
        codes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256(
        reinterpret_cast<__m256i*>(p),
        _mm256_xor_si256(ordered, _mm256_set1_epi8(static_cast<char>(flip))));
  }
  static constexpr float Sign(size_t upper) {
    return upper == 0 ? 1.0F : -1.0F;
  }

  struct Shorts {
    alignas(16) uint16_t v[kLanes];
  };
  static Shorts ShortsPart(const uint16_t* p, size_t n) {
    Shorts part = {};
    for (size_t i = 0; i < n; ++i) part.v[i] = p[i];
    return part;
  }
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_SIMD_AVX2_H_
