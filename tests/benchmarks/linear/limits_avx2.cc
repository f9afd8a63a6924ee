#include <immintrin.h>

#include "tests/benchmarks/linear/limits.h"

namespace octet::benchmarks {
namespace {

// Hides five cycles of latency on two ports, within sixteen registers.
constexpr int kAccumulators = 12;
constexpr double kOperations = 2.0 * kAccumulators;

// Assembly: a compiler would see that nothing comes of such loops. Written out,
// or GCC keeps the sums in memory.
#define OCTET_FOUR(instruction, sum) \
  OCTET_ONE(instruction, (sum)[0])   \
  OCTET_ONE(instruction, (sum)[1])   \
  OCTET_ONE(instruction, (sum)[2])   \
  OCTET_ONE(instruction, (sum)[3])
#define OCTET_ONE(instruction, sum) \
  asm volatile(instruction " %1, %1, %0" : "+x"(sum) : "x"(ones));
#define OCTET_ALL(instruction, sums)  \
  OCTET_FOUR(instruction, (sums) + 0) \
  OCTET_FOUR(instruction, (sums) + 4) \
  OCTET_FOUR(instruction, (sums) + 8)

void Int8Peak(size_t steps) {
  __m256i sums[kAccumulators];
  for (auto& sum : sums) sum = _mm256_setzero_si256();
  const __m256i ones = _mm256_set1_epi8(1);
  for (size_t step = 0; step < steps; ++step) {
    OCTET_ALL("%{vex%} vpdpbusd", sums)
  }
}

// 32 products, added in pairs and then to eight sums: what an INT8 product
// takes at least, with or without saturation.
#define OCTET_PAIRS(sum)             \
  {                                  \
    __m256i products;                \
    asm volatile(                    \
        "vpmaddubsw %2, %2, %1\n\t"  \
        "vpmaddwd %2, %1, %1\n\t"    \
        "vpaddd %1, %0, %0"          \
        : "+x"(sum), "=&x"(products) \
        : "x"(ones));                \
  }
#define OCTET_FOUR_PAIRS(sums) \
  OCTET_PAIRS((sums)[0])       \
  OCTET_PAIRS((sums)[1])       \
  OCTET_PAIRS((sums)[2])       \
  OCTET_PAIRS((sums)[3])

void PairsPeak(size_t steps) {
  __m256i sums[kAccumulators];
  for (auto& sum : sums) sum = _mm256_setzero_si256();
  const __m256i ones = _mm256_set1_epi16(1);
  for (size_t step = 0; step < steps; ++step) {
    OCTET_FOUR_PAIRS(sums + 0)
    OCTET_FOUR_PAIRS(sums + 4)
    OCTET_FOUR_PAIRS(sums + 8)
  }
}

#undef OCTET_FOUR_PAIRS
#undef OCTET_PAIRS

void FmaPeak(size_t steps) {
  __m256 sums[kAccumulators];
  for (auto& sum : sums) sum = _mm256_setzero_ps();
  const __m256 ones = _mm256_set1_ps(1.0F);
  for (size_t step = 0; step < steps; ++step) {
    OCTET_ALL("vfmadd231ps", sums)
  }
}

#undef OCTET_ALL
#undef OCTET_FOUR
#undef OCTET_ONE

void Read(const void* data, size_t bytes) {
  const auto* p = static_cast<const char*>(data);
  for (const char* end = p + bytes; p < end; p += 512) {
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      __m256i value;
      asm volatile("vmovdqa %1, %0"
                   : "=x"(value)
                   : "m"(*reinterpret_cast<const __m256i*>(p + 32 * i)));
    }
  }
}

}  // namespace

Limits LimitsAvxVnni() {
  return {"vpdpbusd ymm", Int8Peak,        kOperations * 32,
          FmaPeak,        kOperations * 8, Read};
}

Limits LimitsAvx2() {
  return {"vpmaddubsw ymm", PairsPeak,       kOperations * 32,
          FmaPeak,          kOperations * 8, Read};
}

}  // namespace octet::benchmarks
