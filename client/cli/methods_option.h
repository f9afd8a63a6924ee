// Quantization methods as people type them: by flags of their own for all
// layers, and behind a pattern, "PATTERN=ITEM,ITEM", for some.

#ifndef OCTET_CLIENT_CLI_METHODS_OPTION_H_
#define OCTET_CLIENT_CLI_METHODS_OPTION_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "octet/v1/quantization_service.pb.h"

namespace octet::cli {

// Names and values: smoothing (none, search or an alpha from 0 to 1), rotate,
// group-size (numbers), rounding (nearest, gptq), bias-correction (on, off),
// calibrator (min_max, ..), percentile (a number).
absl::Status SetMethod(absl::string_view name, const std::string& value,
                       v1::QuantizationMethods* methods);

// "encoder.*=llm_int8,rounding:gptq": an item is a scheme or NAME:VALUE.
absl::StatusOr<v1::SchemeOverride> ParseOverride(const std::string& text);

}  // namespace octet::cli

#endif  // OCTET_CLIENT_CLI_METHODS_OPTION_H_
