#include "server/bundle/report_summary.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "server/model/scheme.h"
#include "server/model/str_cat.h"

namespace octet::bundle {
namespace {

using model::StrCat;

std::string Bytes(uint64_t bytes) {
  static constexpr std::array<const char*, 4> kUnits = {"KiB", "MiB", "GiB",
                                                        "TiB"};
  if (bytes < 1024) return StrCat(bytes, " B");
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

using Counts = std::vector<std::pair<model::Scheme, size_t>>;

// Schemes by how many layers have them, in order of first use.
Counts CountSchemes(const QuantizationReport& report, bool int8) {
  Counts counts;
  for (const LayerReport& layer : report.layers) {
    if (model::IsInt8(layer.scheme) != int8) continue;
    const auto found = std::find_if(
        counts.begin(), counts.end(),
        [&](const auto& entry) { return entry.first == layer.scheme; });
    if (found == counts.end()) {
      counts.emplace_back(layer.scheme, 1);
    } else {
      ++found->second;
    }
  }
  return counts;
}

size_t Total(const Counts& counts) {
  size_t total = 0;
  for (const auto& [scheme, count] : counts) total += count;
  return total;
}

std::string Names(const Counts& counts) {
  return absl::StrJoin(counts, ", ", [&](std::string* out, const auto& entry) {
    *out += model::Name(entry.first);
    if (counts.size() > 1) *out += StrCat(" ", entry.second);
  });
}

std::string Layers(const QuantizationReport& report) {
  const Counts int8 = CountSchemes(report, true);
  const Counts floats = CountSchemes(report, false);
  const size_t count = report.layers.size();
  if (int8.empty()) {
    return absl::StrFormat("None of %d linear layers is INT8 (%s).", count,
                           Names(floats));
  }
  if (floats.empty()) {
    return count == 1
               ? StrCat("The only linear layer is INT8 (", Names(int8), ").")
               : StrCat("All ", count, " linear layers are INT8 (", Names(int8),
                        ").");
  }
  const size_t quantized = Total(int8);
  return StrCat(quantized, " of ", count, " linear layers ",
                quantized == 1 ? "is" : "are", " INT8 (", Names(int8), "); ",
                count - quantized, " stayed float (", Names(floats), ").");
}

std::string Size(const QuantizationReport& report) {
  if (report.linear_stored_bytes == 0) return "";
  return absl::StrFormat(
      " Their weights take %s, %.2f times less than in FP32.",
      Bytes(report.linear_stored_bytes),
      static_cast<double>(report.linear_float_bytes) /
          static_cast<double>(report.linear_stored_bytes));
}

// Time of the layers as they are against the same in float, where the planner
// measured both of every layer.
std::string Speed(const QuantizationReport& report) {
  double chosen = 0;
  double in_float = 0;
  for (const LayerReport& layer : report.layers) {
    double own = 0;
    double slow = 0;
    for (const CandidateReport& candidate : layer.candidates) {
      if (candidate.chosen) own = candidate.microseconds;
      if (!model::IsInt8(candidate.scheme)) {
        slow = std::max(slow, candidate.microseconds);
      }
    }
    if (own <= 0 || slow <= 0) return "";
    chosen += own;
    in_float += slow;
  }
  if (chosen <= 0) return "";
  return absl::StrFormat(" They run %.1f times as fast as in float.",
                         in_float / chosen);
}

std::string Quality(const QuantizationReport& report) {
  if (report.model_rows == 0) {
    return " What that does to the model's output was not measured.";
  }
  std::string text = absl::StrFormat(
      " On %d output rows of calibration samples the mean cosine to FP32 is "
      "%.5f, the worst %.4f",
      report.model_rows, report.mean_row_cosine, report.worst_row_cosine);
  if (std::isfinite(report.model.sqnr_db)) {
    text += absl::StrFormat(": an error of %.2g %% of the signal",
                            100 * std::pow(10.0, -report.model.sqnr_db / 20));
  }
  return text + ".";
}

std::string Budgets(const QuantizationReport& report) {
  if (report.budgets.empty()) return "";
  const auto held = std::count_if(report.budgets.begin(), report.budgets.end(),
                                  [](const auto& b) { return b.held; });
  const auto all = static_cast<std::ptrdiff_t>(report.budgets.size());
  return held == all ? " The budget holds." : " The budget does not hold.";
}

std::string Warnings(const QuantizationReport& report) {
  const size_t count = report.warnings.size();
  if (count == 0) return "";
  return count == 1 ? " There is 1 warning."
                    : StrCat(" There are ", count, " warnings.");
}

}  // namespace

std::string Summary(const QuantizationReport& report) {
  return StrCat(Layers(report), Size(report), Speed(report), Quality(report),
                Budgets(report), Warnings(report));
}

}  // namespace octet::bundle
