#include "server/model/scheme.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "kernels/hadamard.h"
#include "server/model/str_cat.h"

namespace octet::model {
namespace {

constexpr std::array<std::pair<Scheme, std::string_view>, 6> kSchemes = {{
    {Scheme::kFp32, "fp32"},
    {Scheme::kBf16, "bf16"},
    {Scheme::kFp16, "fp16"},
    {Scheme::kW8A8Dynamic, "w8a8_dynamic"},
    {Scheme::kW8A8Static, "w8a8_static"},
    {Scheme::kLlmInt8, "llm_int8"},
}};

constexpr std::array<uint32_t, 5> kGroupSizes = {0, 32, 64, 128, 256};

}  // namespace

std::string_view Name(Scheme scheme) {
  return kSchemes[static_cast<size_t>(scheme)].second;
}

absl::StatusOr<Scheme> ParseScheme(std::string_view name) {
  for (const auto& [scheme, scheme_name] : kSchemes) {
    if (scheme_name == name) return scheme;
  }
  return absl::InvalidArgumentError(
      StrCat("unknown scheme '", name,
             "'; known are fp32, bf16, fp16, w8a8_dynamic, "
             "w8a8_static and llm_int8"));
}

bool IsInt8(Scheme scheme) {
  return scheme == Scheme::kW8A8Dynamic || scheme == Scheme::kW8A8Static ||
         scheme == Scheme::kLlmInt8;
}

absl::Status Validate(const LinearScheme& scheme) {
  if (!std::isfinite(scheme.outlier_threshold) ||
      scheme.outlier_threshold < 0.0F) {
    return absl::InvalidArgumentError(
        "outlier_threshold: must be finite, at least 0");
  }
  if (std::find(kGroupSizes.begin(), kGroupSizes.end(), scheme.group_size) ==
      kGroupSizes.end()) {
    return absl::InvalidArgumentError(
        StrCat("group_size: must be 32, 64, 128, 256 or 0 (none), not ",
               scheme.group_size));
  }
  if (scheme.hadamard_block != 0 &&
      !kernels::IsHadamardBlock(scheme.hadamard_block)) {
    return absl::InvalidArgumentError(
        StrCat("hadamard_block: must be a power of two from 2 to ",
               kernels::kMaxHadamardBlock, ", or 0 (none), not ",
               scheme.hadamard_block));
  }
  const bool transforms =
      scheme.group_size != 0 || scheme.hadamard_block != 0 || scheme.smoothed;
  if (transforms && !IsInt8(scheme.scheme)) {
    return absl::InvalidArgumentError(
        StrCat("scheme: ", Name(scheme.scheme),
               " has no group_size, hadamard_block or smoothed"));
  }
  return absl::OkStatus();
}

}  // namespace octet::model
