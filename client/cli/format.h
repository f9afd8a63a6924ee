// Values as people read them, and the names that people type.

#ifndef OCTET_CLIENT_CLI_FORMAT_H_
#define OCTET_CLIENT_CLI_FORMAT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "octet/v1/bundle_service.pb.h"
#include "octet/v1/quantization_service.pb.h"

namespace octet::cli {

// "86.7 MiB"; exact: "90868376".
std::string FormatBytes(int64_t bytes, bool exact);
// "22.7 M".
std::string FormatCount(int64_t count);
// "1.24 ms", three significant digits.
std::string FormatSpan(absl::Duration duration);
std::string FormatSpan(const google::protobuf::Duration& duration);
// "1:05", "2:00:00".
std::string FormatClock(absl::Duration duration);
// "2026-01-31 12:00:00" in local time; "-" when not set.
std::string FormatTime(const google::protobuf::Timestamp& time);
// "42.1", "exact" when infinite, "-" when not measured.
std::string FormatSqnr(const v1::ErrorMeasures& error, bool measured);

// "w8a8_dynamic" of SCHEME_W8A8_DYNAMIC, and back. The error lists the names.
std::string SchemeName(v1::Scheme scheme);
absl::StatusOr<v1::Scheme> ParseScheme(absl::string_view name);
absl::StatusOr<v1::OutlierRule> ParseOutlierRule(absl::string_view name);
absl::StatusOr<v1::Policy> ParsePolicy(absl::string_view name);
absl::StatusOr<v1::Rounding> ParseRounding(absl::string_view name);
absl::StatusOr<v1::Calibrator> ParseCalibrator(absl::string_view name);
// "succeeded" of STATE_SUCCEEDED.
std::string StateName(v1::Operation::State state);

}  // namespace octet::cli

#endif  // OCTET_CLIENT_CLI_FORMAT_H_
