#include <immintrin.h>

#include "tests/benchmarks/linear/limits.h"

namespace octet::benchmarks {
namespace {

// Hides four cycles of latency on two ports, with registers left over.
constexpr int kAccumulators = 24;
constexpr double kOperations = 2.0 * kAccumulators;

// Assembly: a compiler would see that nothing comes of such loops. Written out,
// or GCC keeps the sums in memory.
#define OCTET_FOUR(instruction, sum) \
  OCTET_ONE(instruction, (sum)[0])   \
  OCTET_ONE(instruction, (sum)[1])   \
  OCTET_ONE(instruction, (sum)[2])   \
  OCTET_ONE(instruction, (sum)[3])
#define OCTET_ONE(instruction, sum) \
  asm volatile(instruction " %1, %1, %0" : "+v"(sum) : "v"(ones));
#define OCTET_ALL(instruction, sums)   \
  OCTET_FOUR(instruction, (sums) + 0)  \
  OCTET_FOUR(instruction, (sums) + 4)  \
  OCTET_FOUR(instruction, (sums) + 8)  \
  OCTET_FOUR(instruction, (sums) + 12) \
  OCTET_FOUR(instruction, (sums) + 16) \
  OCTET_FOUR(instruction, (sums) + 20)

void Int8Peak(size_t steps) {
  __m512i sums[kAccumulators];
  for (auto& sum : sums) sum = _mm512_setzero_si512();
  const __m512i ones = _mm512_set1_epi8(1);
  for (size_t step = 0; step < steps; ++step) {
    OCTET_ALL("vpdpbusd", sums)
  }
}

void FmaPeak(size_t steps) {
  __m512 sums[kAccumulators];
  for (auto& sum : sums) sum = _mm512_setzero_ps();
  const __m512 ones = _mm512_set1_ps(1.0F);
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
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      __m512i value;
      asm volatile("vmovdqa64 %1, %0"
                   : "=v"(value)
                   : "m"(*reinterpret_cast<const __m512i*>(p + 64 * i)));
    }
  }
}

}  // namespace

Limits LimitsAvx512() {
  return {"vpdpbusd zmm", Int8Peak,         kOperations * 64,
          FmaPeak,        kOperations * 16, Read};
}

}  // namespace octet::benchmarks
