#include "server/quantization/search/pace.h"

#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels/status_macros.h"

namespace octet::quantization {
namespace {

constexpr size_t kRows = 128;
constexpr size_t kWidth = 384;
constexpr float kLargest = 127.0F;

// From -32 to 31.
int Small(size_t i) { return static_cast<int>(i % 64) - 32; }

}  // namespace

absl::StatusOr<Pace> Pace::Create() {
  std::vector<int8_t> codes(kWidth * kWidth);
  for (size_t i = 0; i < codes.size(); ++i) {
    codes[i] = static_cast<int8_t>(Small(i));
  }
  const std::vector<float> scales(kWidth, 1.0F);
  kernels::Int8LinearSpec spec;
  spec.codes = {codes.data(), kWidth, kWidth};
  spec.scales = scales;
  ASSIGN_OR_RETURN(kernels::Int8Linear linear,
                   kernels::Int8Linear::Create(spec));
  return Pace(std::move(linear));
}

// A row's codes are small beside its largest one, as most are (safe_pairs.h).
Pace::Pace(kernels::Int8Linear linear)
    : linear_(std::move(linear)), x_(kRows * kWidth), y_(kRows * kWidth) {
  for (size_t i = 0; i < x_.size(); ++i) {
    x_[i] = i % kWidth == 0 ? kLargest : static_cast<float>(Small(i));
  }
}

absl::Status Pace::Work() {
  return linear_.Run({x_.data(), kRows, kWidth}, {y_.data(), kRows, kWidth},
                     {});
}

}  // namespace octet::quantization
