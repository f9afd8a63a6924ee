#include "client/cli/format.h"

#include <array>
#include <cmath>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "google/protobuf/descriptor.h"

namespace octet::cli {
namespace {

// Scales `value` down by `step` until it is below it.
std::string Scaled(double value, double step,
                   std::initializer_list<const char*> units) {
  const auto* unit = units.begin();
  while (std::abs(value) >= step && unit + 1 != units.end()) {
    value /= step;
    ++unit;
  }
  return unit == units.begin() ? absl::StrFormat("%.0f%s", value, *unit)
                               : absl::StrFormat("%.1f%s", value, *unit);
}

// The lower-case names of an enumeration without their prefix.
std::string EnumName(const google::protobuf::EnumDescriptor* type, int number,
                     absl::string_view prefix) {
  const auto* value = type->FindValueByNumber(number);
  if (value == nullptr) return absl::StrCat(number);
  return absl::AsciiStrToLower(absl::StripPrefix(value->name(), prefix));
}

absl::StatusOr<int> ParseEnum(const google::protobuf::EnumDescriptor* type,
                              absl::string_view name, absl::string_view prefix,
                              absl::string_view what) {
  std::vector<std::string> names;
  for (int i = 0; i < type->value_count(); ++i) {
    const int number = type->value(i)->number();
    if (number == 0) continue;
    names.push_back(EnumName(type, number, prefix));
    if (names.back() == name) return number;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "'", name, "' is no ", what, "; there are ", absl::StrJoin(names, ", ")));
}

}  // namespace

std::string FormatBytes(int64_t bytes, bool exact) {
  if (exact) return absl::StrCat(bytes);
  return Scaled(static_cast<double>(bytes), 1024,
                {" B", " KiB", " MiB", " GiB", " TiB"});
}

std::string FormatCount(int64_t count) {
  return Scaled(static_cast<double>(count), 1000, {"", " k", " M", " G"});
}

std::string FormatSpan(absl::Duration duration) {
  const double seconds = absl::ToDoubleSeconds(duration);
  if (seconds <= 0) return "0";
  if (seconds < 1e-3) return absl::StrFormat("%.3g us", seconds * 1e6);
  if (seconds < 1) return absl::StrFormat("%.3g ms", seconds * 1e3);
  if (seconds < 1000) return absl::StrFormat("%.3g s", seconds);
  return FormatClock(duration);
}

std::string FormatSpan(const google::protobuf::Duration& duration) {
  return FormatSpan(absl::Seconds(duration.seconds()) +
                    absl::Nanoseconds(duration.nanos()));
}

std::string FormatClock(absl::Duration duration) {
  const int64_t seconds = absl::ToInt64Seconds(duration);
  if (seconds < 3600) {
    return absl::StrFormat("%d:%02d", seconds / 60, seconds % 60);
  }
  return absl::StrFormat("%d:%02d:%02d", seconds / 3600, seconds / 60 % 60,
                         seconds % 60);
}

std::string FormatTime(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0) return "-";
  return absl::FormatTime("%Y-%m-%d %H:%M:%S",
                          absl::FromUnixSeconds(time.seconds()),
                          absl::LocalTimeZone());
}

std::string FormatSqnr(const v1::ErrorMeasures& error, bool measured) {
  if (!measured) return "-";
  if (std::isinf(error.sqnr_db())) return "exact";
  return absl::StrFormat("%.1f", error.sqnr_db());
}

std::string SchemeName(v1::Scheme scheme) {
  return EnumName(v1::Scheme_descriptor(), scheme, "SCHEME_");
}

absl::StatusOr<v1::Scheme> ParseScheme(absl::string_view name) {
  auto number = ParseEnum(v1::Scheme_descriptor(), name, "SCHEME_", "scheme");
  if (!number.ok()) return number.status();
  return static_cast<v1::Scheme>(*number);
}

absl::StatusOr<v1::OutlierRule> ParseOutlierRule(absl::string_view name) {
  auto number = ParseEnum(v1::OutlierRule_descriptor(), name, "OUTLIER_RULE_",
                          "outlier rule");
  if (!number.ok()) return number.status();
  return static_cast<v1::OutlierRule>(*number);
}

absl::StatusOr<v1::Policy> ParsePolicy(absl::string_view name) {
  auto number = ParseEnum(v1::Policy_descriptor(), name, "POLICY_", "policy");
  if (!number.ok()) return number.status();
  return static_cast<v1::Policy>(*number);
}

absl::StatusOr<v1::Rounding> ParseRounding(absl::string_view name) {
  auto number =
      ParseEnum(v1::Rounding_descriptor(), name, "ROUNDING_", "rounding");
  if (!number.ok()) return number.status();
  return static_cast<v1::Rounding>(*number);
}

absl::StatusOr<v1::Calibrator> ParseCalibrator(absl::string_view name) {
  auto number =
      ParseEnum(v1::Calibrator_descriptor(), name, "CALIBRATOR_", "calibrator");
  if (!number.ok()) return number.status();
  return static_cast<v1::Calibrator>(*number);
}

std::string StateName(v1::Operation::State state) {
  return EnumName(v1::Operation::State_descriptor(), state, "STATE_");
}

}  // namespace octet::cli
