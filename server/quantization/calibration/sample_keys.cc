#include "server/quantization/calibration/sample_keys.h"

namespace octet::quantization {

// FNV-1a, 64 bits, then mixed: FNV alone leaves its high bits poor.
uint64_t SampleKey(uint64_t seed, std::string_view content) {
  constexpr uint64_t kOffset = 0xCBF29CE484222325;
  constexpr uint64_t kPrime = 0x100000001B3;
  uint64_t hash = kOffset ^ MixBits(seed);
  for (const char byte : content) {
    hash = (hash ^ static_cast<unsigned char>(byte)) * kPrime;
  }
  return MixBits(hash);
}

}  // namespace octet::quantization
