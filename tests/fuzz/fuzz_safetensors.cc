// Safetensors::Parse: what it accepts must be readable to the last byte.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "server/bundle/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parsed = octet::bundle::Safetensors::Parse(
      absl::MakeConstSpan(reinterpret_cast<const std::byte*>(data), size));
  if (!parsed.ok()) return 0;
  unsigned sum = 0;
  for (const std::string& name : (*parsed)->Names()) {
    const auto tensor = (*parsed)->Find(name);
    if (!tensor.ok()) std::abort();
    const auto elements = static_cast<size_t>(tensor->elements());
    if (elements * octet::model::SizeOf(tensor->type) != tensor->bytes.size()) {
      std::abort();
    }
    for (const std::byte b : tensor->bytes) sum += static_cast<unsigned>(b);
    static_cast<void>(octet::model::ToFloat(*tensor).ok());
  }
  volatile unsigned read = sum;  // so that the reads are not optimized away
  static_cast<void>(read);
  return 0;
}
