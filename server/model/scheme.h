// How a linear layer is stored and computed.

#ifndef OCTET_SERVER_MODEL_SCHEME_H_
#define OCTET_SERVER_MODEL_SCHEME_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/status.h"
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
  // The rest is for INT8 schemes; see kernels/int8_linear.h.
  uint32_t group_size = 0;      // inputs that share a weight scale; 0: all
  uint32_t hadamard_block = 0;  // of the rotation of inputs; 0: none
  bool smoothed = false;        // inputs are multiplied by P.inverse_smoothing

  friend bool operator==(const LinearScheme&, const LinearScheme&) = default;
};

// INVALID_ARGUMENT beginning with the field's name and a colon, where a number
// is one that no layer can have.
absl::Status Validate(const LinearScheme& scheme);

// Layer name -> scheme. A linear that is not named is kFp32.
using Plan = std::map<std::string, LinearScheme, std::less<>>;

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_SCHEME_H_
