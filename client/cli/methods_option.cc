#include "client/cli/methods_option.h"

#include <cstdint>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cli/format.h"
#include "client/lib/status_macros.h"

namespace octet::cli {
namespace {

absl::Status Wrong(absl::string_view name, absl::string_view value,
                   absl::string_view wanted) {
  return absl::InvalidArgumentError(
      absl::StrCat(name, " '", value, "' is not ", wanted));
}

absl::StatusOr<uint32_t> ParseCount(absl::string_view name,
                                    absl::string_view value) {
  uint32_t count = 0;
  if (absl::SimpleAtoi(value, &count)) return count;
  return Wrong(name, value, "a whole number");
}

absl::Status SetSmoothing(absl::string_view value,
                          v1::QuantizationMethods* methods) {
  double alpha = 0.0;
  if (value == "none") {
    methods->set_smoothing(v1::SMOOTHING_NONE);
  } else if (value == "search") {
    methods->set_smoothing(v1::SMOOTHING_SEARCH);
  } else if (absl::SimpleAtod(value, &alpha)) {
    methods->set_smoothing(v1::SMOOTHING_ALPHA);
    methods->set_smoothing_alpha(alpha);
  } else {
    return Wrong("smoothing", value, "none, search or a number from 0 to 1");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SetMethod(absl::string_view name, const std::string& value,
                       v1::QuantizationMethods* methods) {
  if (name == "smoothing") return SetSmoothing(value, methods);
  if (name == "rotate") {
    ASSIGN_OR_RETURN(const uint32_t block, ParseCount(name, value));
    methods->set_hadamard_block(block);
  } else if (name == "group-size") {
    ASSIGN_OR_RETURN(const uint32_t size, ParseCount(name, value));
    methods->set_group_size(size);
  } else if (name == "rounding") {
    ASSIGN_OR_RETURN(const v1::Rounding rounding, ParseRounding(value));
    methods->set_rounding(rounding);
  } else if (name == "bias-correction") {
    if (value != "on" && value != "off") return Wrong(name, value, "on or off");
    methods->set_bias_correction(value == "on");
  } else if (name == "calibrator") {
    ASSIGN_OR_RETURN(const v1::Calibrator calibrator, ParseCalibrator(value));
    methods->set_calibrator(calibrator);
  } else if (name == "percentile") {
    double percentile = 0.0;
    if (!absl::SimpleAtod(value, &percentile)) {
      return Wrong(name, value, "a number");
    }
    methods->set_percentile(percentile);
  } else {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", name,
        "' is no method; there are smoothing, rotate, group-size, rounding, "
        "bias-correction, calibrator, percentile"));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::SchemeOverride> ParseOverride(const std::string& text) {
  const size_t equals = text.rfind('=');
  if (equals == std::string::npos || equals == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--override '", text, "' is not PATTERN=SCHEME,METHOD:VALUE,.."));
  }
  v1::SchemeOverride result;
  result.set_pattern(text.substr(0, equals));
  const std::vector<std::string> items =
      absl::StrSplit(text.substr(equals + 1), ',');
  for (const std::string& item : items) {
    const size_t colon = item.find(':');
    if (colon == std::string::npos) {
      ASSIGN_OR_RETURN(const v1::Scheme scheme, ParseScheme(item));
      result.set_scheme(scheme);
    } else {
      RETURN_IF_ERROR(SetMethod(item.substr(0, colon), item.substr(colon + 1),
                                result.mutable_methods()));
    }
  }
  return result;
}

}  // namespace octet::cli
