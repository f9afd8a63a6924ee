// What a person should know of a calibration before quantizing with it.

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "server/model/str_cat.h"
#include "server/quantization/calibration/calibration.h"

namespace octet::quantization {
namespace {

constexpr uint64_t kFewSamples = 100;
constexpr uint64_t kManySamples = 1000;
// One in ten: below that, repeats hardly move the statistics.
constexpr double kManyDuplicates = 0.1;

bool HasNamedRows(const Calibration& calibration) {
  for (const auto& [name, input] : calibration.inputs) {
    if (input.named_rows > 0) return true;
  }
  return false;
}

void WarnOfCount(const Calibration& calibration,
                 std::vector<std::string>& warnings) {
  if (calibration.samples < kFewSamples) {
    warnings.push_back(absl::StrFormat(
        "%d calibration samples are few; ranges settle from about %d on, and "
        "an outlier feature that no sample shows is not found",
        calibration.samples, kFewSamples));
  } else if (calibration.samples > kManySamples && !HasNamedRows(calibration)) {
    warnings.push_back(absl::StrFormat(
        "%d calibration samples are many; beyond %d they rarely change ranges "
        "other than by rare extremes, which min_max then gives its codes to",
        calibration.samples, kManySamples));
  }
}

void WarnOfRepeats(const Calibration& calibration,
                   std::vector<std::string>& warnings) {
  const auto samples = static_cast<double>(calibration.samples);
  const uint64_t repeats = calibration.DuplicateSamples();
  if (repeats > kManyDuplicates * samples) {
    warnings.push_back(absl::StrFormat(
        "%d of %d calibration samples repeat others; different samples would "
        "cover more",
        repeats, calibration.samples));
  }
  const uint64_t near = calibration.NearDuplicateSamples();
  if (near > kManyDuplicates * samples) {
    warnings.push_back(absl::StrFormat(
        "%d of %d calibration samples are near duplicates of others (%.0f%% of "
        "their content is the same); more varied samples would cover more",
        near, calibration.samples, 100.0 * kNearDuplicateOverlap));
  }
}

// One sentence for all layers: the first few by name.
void WarnOfInactive(const Calibration& calibration,
                    std::vector<std::string>& warnings) {
  constexpr size_t kNamed = 3;
  std::vector<std::string> named;
  size_t inputs = 0;
  for (const auto& [name, input] : calibration.inputs) {
    const size_t inactive = InactiveColumns(input.statistics).size();
    if (inactive == 0) continue;
    ++inputs;
    if (named.size() == kNamed) continue;
    named.push_back(absl::StrFormat("'%s' (%d of %d)", name, inactive,
                                    input.statistics.columns()));
  }
  if (inputs == 0) return;
  std::string list = absl::StrJoin(named, ", ");
  if (inputs > named.size()) {
    list += absl::StrFormat(" and %d more", inputs - named.size());
  }
  warnings.push_back(absl::StrFormat(
      "input channels were never active (constant, or below %g of the input's "
      "root mean square): %s; if they should be, the samples do not cover them",
      kInactiveShare, list));
}

}  // namespace

uint64_t Calibration::DuplicateSamples() const {
  const double distinct = sketch.Distinct();
  const auto seen = static_cast<double>(samples);
  return distinct >= seen
             ? 0
             : static_cast<uint64_t>(std::llround(seen - distinct));
}

uint64_t Calibration::NearDuplicateSamples() const {
  const double distinct =
      std::min(sketch.Distinct(), static_cast<double>(samples));
  return static_cast<uint64_t>(std::llround(sketch.NearShare() * distinct));
}

std::vector<std::string> Calibration::Warnings() const {
  std::vector<std::string> warnings;
  WarnOfCount(*this, warnings);
  WarnOfRepeats(*this, warnings);
  WarnOfInactive(*this, warnings);
  return warnings;
}

}  // namespace octet::quantization
