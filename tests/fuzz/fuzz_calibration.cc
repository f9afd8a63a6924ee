// ParseCalibration: what it accepts must be usable in every way a calibration
// is, whatever the numbers in it say.

#include <cstddef>
#include <cstdint>

#include "server/quantization/calibration/calibration_file.h"
#include "server/quantization/methods/calibrators.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using octet::quantization::Load;
  auto parsed = octet::quantization::ParseCalibration(
      absl::MakeConstSpan(reinterpret_cast<const std::byte*>(data), size),
      Load::kAll);
  if (!parsed.ok()) return 0;
  for (const auto& [layer, statistics] : parsed->ByLayer()) {
    octet::quantization::ChooseAll(*statistics);
    octet::quantization::InactiveColumns(*statistics);
    parsed->SamplesOf(layer);
  }
  parsed->KeptInputs();
  parsed->Warnings();
  auto twice = *parsed;
  octet::quantization::Merge(*parsed, twice).IgnoreError();
  return 0;
}
