// Numbers that look random, in any order, from as many threads as want them:
// SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
// Generators", 2014).

#ifndef OCTET_SERVER_SERVING_SPLIT_MIX_H_
#define OCTET_SERVER_SERVING_SPLIT_MIX_H_

#include <cstdint>

namespace octet::serving {

// The `n`th number of the sequence of `seed`.
inline uint64_t SplitMix(uint64_t seed, uint64_t n) {
  uint64_t z = seed + (n + 1) * 0x9E3779B97F4A7C15U;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

// Likewise, in [0, 1).
inline double UniformDraw(uint64_t seed, uint64_t n) {
  constexpr double kUnit = 0x1p-53;
  return static_cast<double>(SplitMix(seed, n) >> 11) * kUnit;
}

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_SPLIT_MIX_H_
