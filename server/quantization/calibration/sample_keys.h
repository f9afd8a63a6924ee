// 64-bit keys of samples and of their rows, spread evenly over all numbers:
// what calibration keeps a sample of is what has the smallest keys.
//
// A key depends on a sample's content and the calibration's seed alone, and is
// the same in every process and on every machine.

#ifndef OCTET_SERVER_QUANTIZATION_CALIBRATION_SAMPLE_KEYS_H_
#define OCTET_SERVER_QUANTIZATION_CALIBRATION_SAMPLE_KEYS_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/types/span.h"

namespace octet::quantization {

// The finalizer of SplitMix64 (Steele et al., OOPSLA 2014): every bit of the
// input changes half of the output's.
constexpr uint64_t MixBits(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

uint64_t SampleKey(uint64_t seed, std::string_view content);

template <typename T>
uint64_t SampleKey(uint64_t seed, absl::Span<const T> content) {
  return SampleKey(
      seed, std::string_view(reinterpret_cast<const char*>(content.data()),
                             content.size() * sizeof(T)));
}

// Row `position` of a sample: a token of a sequence.
constexpr uint64_t RowKey(uint64_t sample_key, size_t position) {
  constexpr uint64_t kGolden = 0x9E3779B97F4A7C15;
  return MixBits(sample_key + (position + 1) * kGolden);
}

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_CALIBRATION_SAMPLE_KEYS_H_
