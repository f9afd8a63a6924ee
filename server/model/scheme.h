// How a linear layer is stored and computed.

#ifndef OCTET_SERVER_MODEL_SCHEME_H_
#define OCTET_SERVER_MODEL_SCHEME_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace octet::model {

enum class Scheme : uint8_t {
  kFp32,
  kBf16,
  kFp16,         // not quantized; FP32 accumulation
  kW8A8Dynamic,  // per-channel weights, per-token activations
  kW8A8Static,   // per-channel weights, one affine activation scale
  kLlmInt8,      // kW8A8Dynamic with outlier features in FP16
};

std::string_view Name(Scheme scheme);  // "w8a8_dynamic"
absl::StatusOr<Scheme> ParseScheme(std::string_view name);
bool IsInt8(Scheme scheme);

struct LinearScheme {
  Scheme scheme = Scheme::kFp32;
  float outlier_threshold = 0.0F;  // kLlmInt8: live |x| at or above leaves INT8

  friend bool operator==(const LinearScheme&, const LinearScheme&) = default;
};

// Layer name -> scheme. A linear that is not named is kFp32.
using Plan = std::map<std::string, LinearScheme, std::less<>>;

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_SCHEME_H_
