// AVX-512 on CPUs with AVX2 alone, for the tests of the kernels: what Debian's
// SIMDe computes, and here what it lacks or does not compute bit for bit as
// CPUs do. Stands for the compiler's header where OCTET_EMULATE_AVX512 is set.
//
// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, vol. 2.

#ifndef OCTET_TESTS_EMULATION_IMMINTRIN_H_
#define OCTET_TESTS_EMULATION_IMMINTRIN_H_

#pragma GCC system_header  // defines the compiler's own names

#include_next <immintrin.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace octet::emulation {

constexpr size_t kLanes = 16;

template <typename T>
using Lanes = std::array<T, kLanes>;
using Floats = Lanes<float>;
using Ints = Lanes<int32_t>;
using Shorts = Lanes<uint16_t>;
using Halves = std::array<__m256, 2>;
using IntHalves = std::array<__m256i, 2>;

inline bool Has(unsigned mask, size_t lane) { return (mask >> lane & 1) != 0; }

// --- Masks: memory is touched where they say so; beyond there may be no page.

template <typename T>
Lanes<T> LoadMasked(unsigned mask, const void* from) {
  Lanes<T> lanes{};
  for (size_t i = 0; i < kLanes; ++i) {
    const char* const at = static_cast<const char*>(from) + i * sizeof(T);
    if (Has(mask, i)) std::memcpy(&lanes[i], at, sizeof(T));
  }
  return lanes;
}

template <typename T, typename Vector>
void StoreMasked(void* to, unsigned mask, Vector vector) {
  const auto lanes = std::bit_cast<Lanes<T>>(vector);
  for (size_t i = 0; i < kLanes; ++i) {
    char* const at = static_cast<char*>(to) + i * sizeof(T);
    if (Has(mask, i)) std::memcpy(at, &lanes[i], sizeof(T));
  }
}

inline __m512 ZeroUnless(unsigned mask, __m512 vector) {
  auto lanes = std::bit_cast<Floats>(vector);
  for (size_t i = 0; i < kLanes; ++i) {
    if (!Has(mask, i)) lanes[i] = 0.0F;
  }
  return std::bit_cast<__m512>(lanes);
}

inline __m512 LoadFloats(unsigned mask, const void* from) {
  return std::bit_cast<__m512>(LoadMasked<float>(mask, from));
}
inline __m512i LoadInts(unsigned mask, const void* from) {
  return std::bit_cast<__m512i>(LoadMasked<int32_t>(mask, from));
}
inline __m256i LoadShorts(unsigned mask, const void* from) {
  return std::bit_cast<__m256i>(LoadMasked<uint16_t>(mask, from));
}

// --- What AVX2, FMA and F16C have for half as much.

inline __m512 Fmadd(__m512 a, __m512 b, __m512 c) {
  const auto x = std::bit_cast<Halves>(a);
  const auto y = std::bit_cast<Halves>(b);
  const auto z = std::bit_cast<Halves>(c);
  return std::bit_cast<__m512>(Halves{_mm256_fmadd_ps(x[0], y[0], z[0]),
                                      _mm256_fmadd_ps(x[1], y[1], z[1])});
}

// The second operand where one is a NaN.
inline __m512 Max(__m512 a, __m512 b) {
  const auto x = std::bit_cast<Halves>(a);
  const auto y = std::bit_cast<Halves>(b);
  return std::bit_cast<__m512>(
      Halves{_mm256_max_ps(x[0], y[0]), _mm256_max_ps(x[1], y[1])});
}
inline __m512 Min(__m512 a, __m512 b) {
  const auto x = std::bit_cast<Halves>(a);
  const auto y = std::bit_cast<Halves>(b);
  return std::bit_cast<__m512>(
      Halves{_mm256_min_ps(x[0], y[0]), _mm256_min_ps(x[1], y[1])});
}
inline __m512 MaxMasked(unsigned mask, __m512 a, __m512 b) {
  return ZeroUnless(mask, Max(a, b));
}
inline __m512 MinMasked(unsigned mask, __m512 a, __m512 b) {
  return ZeroUnless(mask, Min(a, b));
}

inline __m512i ToInts(__m512 floats) {
  const auto x = std::bit_cast<Halves>(floats);
  return std::bit_cast<__m512i>(
      IntHalves{_mm256_cvtps_epi32(x[0]), _mm256_cvtps_epi32(x[1])});
}
inline __m512 ToFloats(__m512i ints) {
  const auto x = std::bit_cast<IntHalves>(ints);
  return std::bit_cast<__m512>(
      Halves{_mm256_cvtepi32_ps(x[0]), _mm256_cvtepi32_ps(x[1])});
}

inline __m256i ToFp16(__m512 floats, int /*rounding: to nearest even*/) {
  const auto x = std::bit_cast<Halves>(floats);
  return _mm256_set_m128i(_mm256_cvtps_ph(x[1], _MM_FROUND_TO_NEAREST_INT),
                          _mm256_cvtps_ph(x[0], _MM_FROUND_TO_NEAREST_INT));
}
inline __m512 FromFp16(__m256i halves) {
  return std::bit_cast<__m512>(
      Halves{_mm256_cvtph_ps(_mm256_castsi256_si128(halves)),
             _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1))});
}
inline __m512 FromFp16Masked(unsigned mask, __m256i halves) {
  return ZeroUnless(mask, FromFp16(halves));
}

// vpdpbusd: bytes 0 and 2 of each lane, then 1 and 3, as 16 bits.
inline __m256i DotBytes(__m256i sums, __m256i codes, __m256i weights) {
  const __m256i even =
      _mm256_madd_epi16(_mm256_and_si256(codes, _mm256_set1_epi16(0xff)),
                        _mm256_srai_epi16(_mm256_slli_epi16(weights, 8), 8));
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(codes, 8),
                                        _mm256_srai_epi16(weights, 8));
  return _mm256_add_epi32(sums, _mm256_add_epi32(even, odd));
}
inline __m512i DotBytes(__m512i sums, __m512i codes, __m512i weights) {
  const auto x = std::bit_cast<IntHalves>(sums);
  const auto y = std::bit_cast<IntHalves>(codes);
  const auto z = std::bit_cast<IntHalves>(weights);
  return std::bit_cast<__m512i>(
      IntHalves{DotBytes(x[0], y[0], z[0]), DotBytes(x[1], y[1], z[1])});
}

// --- Lane by lane.

template <typename To, typename From, typename Convert>
Lanes<To> Each(const Lanes<From>& from, const Convert& convert) {
  Lanes<To> to{};
  std::transform(from.begin(), from.end(), to.begin(), convert);
  return to;
}

inline __m512i ShiftRight(__m512i ints, unsigned bits) {
  return std::bit_cast<__m512i>(Each<int32_t>(
      std::bit_cast<Ints>(ints), [bits](int32_t x) { return x >> bits; }));
}
inline __m512i FromShorts(__m256i shorts) {
  return std::bit_cast<__m512i>(
      Each<int32_t>(std::bit_cast<Shorts>(shorts),
                    [](uint16_t x) { return static_cast<int32_t>(x); }));
}
inline __m256i ToShorts(__m512i ints) {
  return std::bit_cast<__m256i>(
      Each<uint16_t>(std::bit_cast<Ints>(ints),
                     [](int32_t x) { return static_cast<uint16_t>(x); }));
}
inline __m128i ToBytes(__m512i unsigned_ints) {
  return std::bit_cast<__m128i>(Each<uint8_t>(
      std::bit_cast<Lanes<uint32_t>>(unsigned_ints), [](uint32_t x) {
        return static_cast<uint8_t>(std::min<uint32_t>(x, 255));
      }));
}
inline int32_t Largest(__m512i ints) {
  const auto lanes = std::bit_cast<Ints>(ints);
  return *std::max_element(lanes.begin(), lanes.end());
}
inline uint16_t Less(__m512i a, __m512i b) {
  const auto x = std::bit_cast<Ints>(a);
  const auto y = std::bit_cast<Ints>(b);
  unsigned mask = 0;
  for (size_t i = 0; i < kLanes; ++i) mask |= (x[i] < y[i] ? 1U : 0U) << i;
  return static_cast<uint16_t>(mask);
}
inline __m512 PermuteInQuarters(__m512 vector, unsigned order) {
  const auto from = std::bit_cast<Floats>(vector);
  Floats to{};
  for (size_t i = 0; i < kLanes; ++i) {
    to[i] = from[(i & ~size_t{3}) + (order >> 2 * (i % 4) & 3)];
  }
  return std::bit_cast<__m512>(to);
}
inline __m512 ShuffleQuarters(__m512 a, __m512 b, unsigned order) {
  const auto x = std::bit_cast<std::array<__m128, 4>>(a);
  const auto y = std::bit_cast<std::array<__m128, 4>>(b);
  return std::bit_cast<__m512>(
      std::array<__m128, 4>{x[order & 3], x[order >> 2 & 3],  //
                            y[order >> 4 & 3], y[order >> 6 & 3]});
}
inline __m512i Gather(__m512i index, const void* from, int scale) {
  return std::bit_cast<__m512i>(
      Each<int32_t>(std::bit_cast<Ints>(index), [from, scale](int32_t at) {
        int32_t value = 0;
        std::memcpy(&value,
                    static_cast<const char*>(from) + ptrdiff_t{at} * scale,
                    sizeof(value));
        return value;
      }));
}

// --- BF16: to nearest even, denormals taken for zeros.

inline float FlushDenormal(float x) {
  return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0F, x) : x;
}
inline uint16_t ToBf16(float x) {
  const auto bits = std::bit_cast<uint32_t>(FlushDenormal(x));
  if (std::isnan(x)) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline float FromBf16(uint16_t x) {
  return FlushDenormal(std::bit_cast<float>(uint32_t{x} << 16));
}
inline __m512i ToBf16s(__m512 upper, __m512 lower) {
  const auto bf16 = [](__m512 x) {
    return Each<uint16_t>(std::bit_cast<Floats>(x), ToBf16);
  };
  return std::bit_cast<__m512i>(
      std::array<Shorts, 2>{bf16(lower), bf16(upper)});
}
template <typename Bf16s>
__m512 DotBf16s(__m512 sums, Bf16s a, Bf16s b) {
  const auto x = std::bit_cast<std::array<uint16_t, 2 * kLanes>>(a);
  const auto y = std::bit_cast<std::array<uint16_t, 2 * kLanes>>(b);
  auto sum = std::bit_cast<Floats>(sums);
  for (size_t i = 0; i < kLanes; ++i) {
    for (const size_t k : {2 * i + 1, 2 * i}) {
      sum[i] = FlushDenormal(std::fma(FromBf16(x[k]), FromBf16(y[k]), sum[i]));
    }
  }
  return std::bit_cast<__m512>(sum);
}

}  // namespace octet::emulation

#undef _mm256_dpbusd_epi32
#undef _mm256_mask_storeu_epi16
#undef _mm256_maskz_loadu_epi16
#undef _mm512_cmplt_epi32_mask
#undef _mm512_cvtepi32_epi16
#undef _mm512_cvtepi32_ps
#undef _mm512_cvtepu16_epi32
#undef _mm512_cvtne2ps_pbh
#undef _mm512_cvtph_ps
#undef _mm512_cvtps_epi32
#undef _mm512_cvtps_ph
#undef _mm512_cvtusepi32_epi8
#undef _mm512_dpbf16_ps
#undef _mm512_dpbusd_epi32
#undef _mm512_fmadd_ps
#undef _mm512_i32gather_epi32
#undef _mm512_mask_storeu_ps
#undef _mm512_maskz_cvtph_ps
#undef _mm512_maskz_loadu_epi32
#undef _mm512_maskz_loadu_ps
#undef _mm512_maskz_max_ps
#undef _mm512_maskz_min_ps
#undef _mm512_max_ps
#undef _mm512_min_ps
#undef _mm512_permute_ps
#undef _mm512_reduce_max_epi32
#undef _mm512_shuffle_f32x4
#undef _mm512_srai_epi32
#undef _mm_mask_storeu_epi8

#define _mm256_dpbusd_epi32 octet::emulation::DotBytes
#define _mm256_mask_storeu_epi16 octet::emulation::StoreMasked<uint16_t>
#define _mm256_maskz_loadu_epi16 octet::emulation::LoadShorts
#define _mm512_cmplt_epi32_mask octet::emulation::Less
#define _mm512_cvtepi32_epi16 octet::emulation::ToShorts
#define _mm512_cvtepi32_ps octet::emulation::ToFloats
#define _mm512_cvtepu16_epi32 octet::emulation::FromShorts
#define _mm512_cvtne2ps_pbh octet::emulation::ToBf16s
#define _mm512_cvtph_ps octet::emulation::FromFp16
#define _mm512_cvtps_epi32 octet::emulation::ToInts
#define _mm512_cvtps_ph octet::emulation::ToFp16
#define _mm512_cvtusepi32_epi8 octet::emulation::ToBytes
#define _mm512_dpbf16_ps octet::emulation::DotBf16s
#define _mm512_dpbusd_epi32 octet::emulation::DotBytes
#define _mm512_fmadd_ps octet::emulation::Fmadd
#define _mm512_i32gather_epi32 octet::emulation::Gather
#define _mm512_mask_storeu_ps octet::emulation::StoreMasked<float>
#define _mm512_maskz_cvtph_ps octet::emulation::FromFp16Masked
#define _mm512_maskz_loadu_epi32 octet::emulation::LoadInts
#define _mm512_maskz_loadu_ps octet::emulation::LoadFloats
#define _mm512_maskz_max_ps octet::emulation::MaxMasked
#define _mm512_maskz_min_ps octet::emulation::MinMasked
#define _mm512_max_ps octet::emulation::Max
#define _mm512_min_ps octet::emulation::Min
#define _mm512_permute_ps octet::emulation::PermuteInQuarters
#define _mm512_reduce_max_epi32 octet::emulation::Largest
#define _mm512_shuffle_f32x4 octet::emulation::ShuffleQuarters
#define _mm512_srai_epi32 octet::emulation::ShiftRight
#define _mm_mask_storeu_epi8 octet::emulation::StoreMasked<uint8_t>

#endif  // OCTET_TESTS_EMULATION_IMMINTRIN_H_
