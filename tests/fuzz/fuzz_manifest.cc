// ParseManifest: what it accepts is written and read again to the same text.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "server/bundle/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parsed = octet::bundle::ParseManifest(
      std::string_view(reinterpret_cast<const char*>(data), size));
  if (!parsed.ok()) return 0;
  const std::string text = octet::bundle::ToJson(*parsed);
  const auto again = octet::bundle::ParseManifest(text);
  if (!again.ok() || octet::bundle::ToJson(*again) != text) std::abort();
  return 0;
}
