#include "server/quantization/planner.h"

#include <fnmatch.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/quantization/input_groups.h"

namespace octet::quantization {
namespace {

using model::Linear;
using model::Scheme;

// K codes and a 4-byte scale against K values of 16 bits.
constexpr size_t kFewestInputs = 4;
// Beyond this share of the columns the 16-bit part costs more than it saves.
constexpr double kManyOutliers = 0.25;
// Far more than any layer name needs; bounds the work of matching.
constexpr size_t kMaxPatternBytes = 256;

using Group = InputGroup;

bool Matches(const std::string& pattern, const std::string& layer) {
  return fnmatch(pattern.c_str(), layer.c_str(), 0) == 0;
}

const std::string* FindMatch(const std::vector<std::string>& patterns,
                             const std::string& layer) {
  const auto found =
      std::find_if(patterns.begin(), patterns.end(),
                   [&](const std::string& p) { return Matches(p, layer); });
  return found == patterns.end() ? nullptr : &*found;
}

absl::Status CheckPattern(const model::Graph& graph, std::string_view field,
                          const std::string& pattern) {
  if (pattern.size() > kMaxPatternBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: a pattern of %d bytes; at most %d are accepted",
                        field, pattern.size(), kMaxPatternBytes));
  }
  for (const Linear* linear : graph.Linears()) {
    if (Matches(pattern, linear->layer)) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrFormat(
      "%s: pattern '%s' matches no linear layer of the model", field, pattern));
}

absl::Status CheckRequest(const model::Graph& graph,
                          const PlanRequest& request) {
  if (model::IsInt8(request.float_scheme)) {
    return absl::InvalidArgumentError(model::StrCat(
        "float_scheme: '", model::Name(request.float_scheme),
        "' is not a float scheme; choose 'fp32', 'bf16' or 'fp16'"));
  }
  if (!(request.outlier_threshold > 0.0) ||
      request.outlier_threshold > std::numeric_limits<float>::max()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("outlier_threshold: %g is not a positive number",
                        request.outlier_threshold));
  }
  for (const std::string& pattern : request.include) {
    RETURN_IF_ERROR(CheckPattern(graph, "include", pattern));
  }
  for (const std::string& pattern : request.exclude) {
    RETURN_IF_ERROR(CheckPattern(graph, "exclude", pattern));
  }
  for (const PlanRequest::Override& override : request.overrides) {
    RETURN_IF_ERROR(CheckPattern(graph, "overrides", override.pattern));
  }
  return absl::OkStatus();
}

struct Place {
  bool is_first = false;
  bool is_last = false;
};

// Scheme and reason of one layer, before anything that needs statistics.
LayerPlan ChooseScheme(const PlanRequest& request, const Linear& linear,
                       Place place) {
  const auto stays_float = [&](std::string reason) {
    LayerPlan plan;
    plan.scheme.scheme = request.float_scheme;
    plan.reason = std::move(reason);
    return plan;
  };
  LayerPlan plan;
  for (auto it = request.overrides.rbegin(); it != request.overrides.rend();
       ++it) {
    if (!Matches(it->pattern, linear.layer)) continue;
    plan.scheme.scheme = it->scheme;
    if (!model::IsInt8(it->scheme)) {
      plan.reason = model::StrCat("override '", it->pattern, "'");
    }
    return plan;
  }
  if (const std::string* match = FindMatch(request.exclude, linear.layer)) {
    return stays_float(model::StrCat("excluded by '", *match, "'"));
  }
  if (!request.include.empty() &&
      FindMatch(request.include, linear.layer) == nullptr) {
    return stays_float("matches no include pattern");
  }
  if (request.keep_first && place.is_first) {
    return stays_float("first linear is kept in float");
  }
  if (request.keep_last && place.is_last) {
    return stays_float("last linear is kept in float");
  }
  plan.scheme.scheme = request.scheme;
  if (!model::IsInt8(request.scheme)) {
    plan.reason = model::StrCat("scheme '", model::Name(request.scheme), "'");
  } else if (linear.in_features < kFewestInputs) {
    return stays_float(absl::StrFormat(
        "%d inputs: codes and scale would be larger than 16-bit weights",
        linear.in_features));
  }
  return plan;
}

bool NeedsStatistics(Scheme scheme) {
  return scheme == Scheme::kW8A8Static || scheme == Scheme::kLlmInt8;
}

// The statistics of a group's input; nullptr when calibration has not seen it.
absl::StatusOr<const LayerStatistics*> GroupStatistics(
    const Group& group, const StatisticsByLayer& statistics) {
  const Linear& linear = *group.front();
  const auto found = statistics.find(linear.layer);
  if (found == statistics.end() || found->second->rows == 0) return nullptr;
  if (found->second->columns() != linear.in_features) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "calibration of layer '%s' has %d columns; the layer has %d inputs",
        linear.layer, found->second->columns(), linear.in_features));
  }
  return found->second;
}

void PlanOutliers(const PlanRequest& request, const LayerStatistics& statistics,
                  const std::string& layer, LayerPlan& plan,
                  std::vector<std::string>& warnings) {
  double threshold = request.outlier_threshold;
  if (request.outlier_rule == OutlierRule::kSigma) {
    threshold *= statistics.sigma();
  }
  const auto stored = static_cast<float>(threshold);
  if (!std::isnormal(stored)) {
    warnings.push_back(absl::StrFormat(
        "layer '%s': its inputs did not vary in calibration, so %g sigma is "
        "no threshold; no outliers are taken out",
        layer, request.outlier_threshold));
    return;
  }
  plan.scheme.outlier_threshold = stored;
  plan.outlier_columns = OutlierColumns(statistics, stored);
  const size_t count = plan.outlier_columns.size();
  if (static_cast<double>(count) > kManyOutliers * statistics.columns()) {
    warnings.push_back(absl::StrFormat(
        "layer '%s': %d of %d input columns reach the outlier threshold %g; "
        "a higher threshold would keep more of the layer in INT8",
        layer, count, statistics.columns(), stored));
  }
}

absl::Status PlanActivations(const PlanRequest& request, const Group& group,
                             const StatisticsByLayer& statistics,
                             QuantizationPlan& plan) {
  ASSIGN_OR_RETURN(const LayerStatistics* shared,
                   GroupStatistics(group, statistics));
  for (const Linear* linear : group) {
    LayerPlan& layer = plan.layers[linear->layer];
    const Scheme scheme = layer.scheme.scheme;
    if (!NeedsStatistics(scheme)) continue;
    if (shared == nullptr) {
      return absl::FailedPreconditionError(model::StrCat(
          "layer '", linear->layer, "': scheme '", model::Name(scheme),
          "' needs a calibration that has seen its inputs"));
    }
    if (scheme == Scheme::kW8A8Static) {
      layer.input = AffineFromRange(shared->min, shared->max);
    } else {
      PlanOutliers(request, *shared, linear->layer, layer, plan.warnings);
    }
  }
  return absl::OkStatus();
}

void WarnOfMixedGroup(const Group& group, QuantizationPlan& plan) {
  std::set<Scheme> schemes;
  for (const Linear* linear : group) {
    schemes.insert(plan.layers[linear->layer].scheme.scheme);
  }
  if (schemes.size() < 2) return;
  const auto append_name = [](std::string* out, const Linear* linear) {
    absl::StrAppend(out, "'", linear->layer, "'");
  };
  plan.warnings.push_back(model::StrCat(
      "layers ", absl::StrJoin(group, ", ", append_name),
      " read one input but have different schemes; engines that merge such "
      "layers will not load the bundle"));
}

}  // namespace

absl::StatusOr<QuantizationPlan> MakePlan(const model::Graph& graph,
                                          const PlanRequest& request,
                                          const StatisticsByLayer& statistics) {
  RETURN_IF_ERROR(CheckRequest(graph, request));
  const std::vector<Group> groups = GroupByInput(graph);
  const std::vector<const Linear*> linears = graph.Linears();
  QuantizationPlan plan;
  bool any_int8 = false;
  for (const Group& group : groups) {
    for (const Linear* linear : group) {
      const Place place{.is_first = &group == &groups.front(),
                        .is_last = linear == linears.back()};
      LayerPlan layer = ChooseScheme(request, *linear, place);
      any_int8 = any_int8 || model::IsInt8(layer.scheme.scheme);
      plan.layers[linear->layer] = std::move(layer);
    }
    WarnOfMixedGroup(group, plan);
    RETURN_IF_ERROR(PlanActivations(request, group, statistics, plan));
  }
  if (!any_int8) plan.warnings.emplace_back("no layer is quantized to INT8");
  return plan;
}

}  // namespace octet::quantization
