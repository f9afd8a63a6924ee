// Tells whether a calibration was made with the weights at hand: checkpoints
// on two servers, or one that was replaced under its old name.
//
// The SHA-256 of every tensor's name, type, shape and 192 of its bytes (at its
// beginning, middle and end). Reading that much takes milliseconds; training
// changes all of a tensor.

#ifndef OCTET_SERVER_QUANTIZATION_CALIBRATION_FINGERPRINT_H_
#define OCTET_SERVER_QUANTIZATION_CALIBRATION_FINGERPRINT_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/model/tensor.h"

namespace octet::quantization {

absl::StatusOr<std::string> Fingerprint(const model::TensorSource& tensors);

// FAILED_PRECONDITION unless they are equal.
absl::Status CheckFingerprint(std::string_view calibration,
                              std::string_view checkpoint);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_CALIBRATION_FINGERPRINT_H_
