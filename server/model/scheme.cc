#include "server/model/scheme.h"

#include <array>
#include <utility>

#include "absl/status/status.h"
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

}  // namespace octet::model
