// What a core can do at most, measured by loops that do nothing else.

#ifndef OCTET_TESTS_BENCHMARKS_LINEAR_LIMITS_H_
#define OCTET_TESTS_BENCHMARKS_LINEAR_LIMITS_H_

#include <cstddef>

namespace octet::benchmarks {

struct Limits {
  const char* name;
  // Independent INT8 dot products or FP32 FMAs, registers only. Operations done
  // per step: multiplications and additions. nullptr: the CPU has no such
  // thing.
  void (*int8_peak)(size_t steps);
  double int8_operations;
  void (*fma_peak)(size_t steps);
  double fma_operations;
  // Reads `bytes` (a multiple of 512) once, in order, as wide as loads get.
  void (*read)(const void* data, size_t bytes);
};

Limits LimitsAvx512();  // AVX-512 with VNNI
Limits LimitsAvxVnni();
Limits LimitsAvx2();  // vpmaddubsw and vpmaddwd

}  // namespace octet::benchmarks

#endif  // OCTET_TESTS_BENCHMARKS_LINEAR_LIMITS_H_
