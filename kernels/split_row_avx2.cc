// See safe_pairs.h. Rows have little excess: 32 codes are tested at once, and
// groups that have some are split one by one.

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/safe_pairs.h"

namespace octet::kernels {
namespace {

constexpr size_t kGroup = 4;
constexpr int32_t kMostOfPair = 128;
constexpr int32_t kMostOfCode = 127;

inline __m256i Load(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

inline void Store(void* p, __m256i v) {
  _mm256_storeu_si256(static_cast<__m256i*>(p), v);
}

inline int32_t Clamp(int32_t x, int32_t most) {
  return x > most ? most : x < -most ? -most : x;
}

// What a pair may have at once of x: all of it, or half as much each.
inline void TakePart(int32_t (&x)[2], int32_t (&part)[2]) {
  const int32_t sum = x[0] + x[1];
  const bool fits = Clamp(x[0], kMostOfCode) == x[0] &&
                    Clamp(x[1], kMostOfCode) == x[1] &&
                    Clamp(sum, kMostOfPair) == sum;
  for (size_t i = 0; i < 2; ++i) {
    part[i] = fits ? x[i] : Clamp(x[i], kMostOfPair / 2);
    x[i] -= part[i];
  }
}

// The next part of each of a group's two pairs, as bytes.
inline int32_t TakeParts(int32_t (&x)[2][2]) {
  uint32_t bytes = 0;
  for (size_t pair = 0; pair < 2; ++pair) {
    int32_t part[2];
    TakePart(x[pair], part);
    for (size_t i = 0; i < 2; ++i) {
      bytes |= static_cast<uint32_t>(part[i] & 0xff) << (16 * pair + 8 * i);
    }
  }
  return static_cast<int32_t>(bytes);
}

// Where excess goes.
struct Excesses {
  Excess* at;
  size_t count = 0;

  void Add(uint32_t group, int32_t codes) {
    at[count] = {group, codes};
    ++count;
  }
};

// A group some of whose x are no bytes. By how much the sum of its x is more
// than that of the bytes in a, which wrapped.
int32_t SplitGroup(const uint8_t* codes, uint32_t group, int32_t zero_point,
                   int8_t* a, Excesses& excess) {
  int32_t x[2][2];
  int32_t sum = 0;
  for (size_t i = 0; i < kGroup; ++i) {
    x[i / 2][i % 2] = codes[i] - zero_point;
    sum += x[i / 2][i % 2] - a[i];
  }
  const int32_t safe = TakeParts(x);
  __builtin_memcpy(a, &safe, sizeof(safe));
  for (int32_t more = TakeParts(x); more != 0; more = TakeParts(x)) {
    excess.Add(group, more);
  }
  return sum;
}

// Of 32 codes, a bit for each group in which `lanes` are not all zeros.
inline uint32_t GroupsIn(__m256i lanes) {
  const __m256i none = _mm256_cmpeq_epi32(lanes, _mm256_setzero_si256());
  return ~static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(none))) &
         0xff;
}

// The groups of 32 codes that have a bit: as SplitGroup, the sum of all.
int32_t SplitGroups(const uint8_t* codes, uint32_t bits, uint32_t first_group,
                    int32_t zero_point, int8_t* a, Excesses& excess) {
  int32_t sum = 0;
  for (; bits != 0; bits &= bits - 1) {
    const auto group = static_cast<uint32_t>(__builtin_ctz(bits));
    const size_t at = group * kGroup;
    sum +=
        SplitGroup(codes + at, first_group + group, zero_point, a + at, excess);
  }
  return sum;
}

// Of a large pair half, rounded up, stays, and half, rounded down, goes.
inline void HalvePairs(__m256i x, __m256i large, uint32_t first_group,
                       int8_t* a, Excesses& excess) {
  const __m256i sign = _mm256_set1_epi8(static_cast<char>(0x80));
  const __m256i half =
      _mm256_xor_si256(_mm256_avg_epu8(_mm256_xor_si256(x, sign), sign), sign);
  const __m256i more = _mm256_and_si256(large, _mm256_sub_epi8(x, half));
  Store(a, _mm256_sub_epi8(x, more));
  int32_t groups[kSplitStep / kGroup];
  Store(groups, more);
  for (uint32_t left = GroupsIn(large); left != 0; left &= left - 1) {
    const auto group = static_cast<uint32_t>(__builtin_ctz(left));
    excess.Add(first_group + group, groups[group]);
  }
}

inline int32_t SumOfLanes(__m256i v) {
  int32_t lanes[8];
  Store(lanes, v);
  int32_t sum = 0;
  for (const int32_t lane : lanes) sum += lane;
  return sum;
}

}  // namespace

SplitRow SplitRowAvx2(const uint8_t* codes, size_t k, int32_t zero_point,
                      int8_t* a, Excess* excess) {
  const __m256i sign = _mm256_set1_epi8(static_cast<char>(0x80));
  const __m256i zero = _mm256_set1_epi8(static_cast<char>(zero_point - 128));
  const __m256i ones = _mm256_set1_epi8(1);
  const __m256i wide_ones = _mm256_set1_epi16(1);
  const __m256i most = _mm256_set1_epi16(kMostOfPair);
  Excesses excesses = {excess};
  __m256i sums = _mm256_setzero_si256();
  int32_t wrapped_sum = 0;
  for (size_t i = 0; i < k; i += kSplitStep) {
    const __m256i code = _mm256_xor_si256(Load(codes + i), sign);
    const __m256i x = _mm256_sub_epi8(code, zero);
    const __m256i wrapped = _mm256_xor_si256(x, _mm256_subs_epi8(code, zero));
    const __m256i pairs = _mm256_maddubs_epi16(ones, x);
    const __m256i large = _mm256_cmpgt_epi16(_mm256_abs_epi16(pairs), most);
    sums = _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, wide_ones));
    Store(a + i, x);
    const auto first = static_cast<uint32_t>(i / kGroup);
    if (_mm256_testz_si256(wrapped, wrapped) == 0) {
      wrapped_sum +=
          SplitGroups(codes + i, GroupsIn(_mm256_or_si256(wrapped, large)),
                      first, zero_point, a + i, excesses);
    } else if (_mm256_testz_si256(large, large) == 0) {
      HalvePairs(x, large, first, a + i, excesses);
    }
  }
  return {wrapped_sum + SumOfLanes(sums), excesses.count};
}

}  // namespace octet::kernels
