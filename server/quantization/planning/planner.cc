#include "server/quantization/planning/planner.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/quantization/calibration/input_groups.h"
#include "server/quantization/methods/shared_weights.h"
#include "server/quantization/planning/input_plan.h"

namespace octet::quantization {
namespace {

using model::Linear;
using model::StrCat;

// The statistics of a group's input; nullptr when calibration has not seen it.
absl::StatusOr<const LayerStatistics*> FindStatistics(
    const Linear& linear, const StatisticsByLayer& statistics) {
  const auto found = statistics.find(linear.layer);
  if (found == statistics.end() || found->second->rows == 0) return nullptr;
  if (found->second->columns() != linear.in_features) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "calibration of layer '%s' has %d columns; the layer has %d inputs",
        linear.layer, found->second->columns(), linear.in_features));
  }
  return found->second;
}

// Whether engines can merge the layers: rounding and biases are their own.
bool AreAlike(const LayerPlan& a, const LayerPlan& b) {
  return a.scheme == b.scheme && a.input == b.input &&
         a.smoothing == b.smoothing && a.outlier_columns == b.outlier_columns;
}

// Plans every part of every group by `plan_part`.
absl::Status PlanParts(
    const model::Graph& graph, const PlanRequest& request,
    const StatisticsByLayer& statistics,
    const std::function<absl::StatusOr<LayerPlan>(
        const AlikeLinears&, const LayerStatistics*)>& plan_part,
    QuantizationPlan& plan) {
  ASSIGN_OR_RETURN(const auto requests, ResolveRequest(graph, request));
  for (const InputGroup& group : GroupByInput(graph)) {
    const auto parts = SplitByRequest(group, requests);
    ASSIGN_OR_RETURN(const LayerStatistics* seen,
                     FindStatistics(*group.front(), statistics));
    for (const AlikeLinears& part : parts) {
      ASSIGN_OR_RETURN(const LayerPlan layer, plan_part(part, seen));
      for (const Linear* linear : part.linears) {
        plan.layers[linear->layer] = layer;
        plan.layers[linear->layer].reason =
            requests.find(linear->layer)->second.reason;
      }
    }
  }
  WarnOfWholePlan(graph, plan);
  return absl::OkStatus();
}

}  // namespace

void WarnOfWholePlan(const model::Graph& graph, QuantizationPlan& plan) {
  for (const InputGroup& group : GroupByInput(graph)) {
    const auto plan_of = [&](const Linear* linear) -> const LayerPlan& {
      return plan.layers.find(linear->layer)->second;
    };
    const LayerPlan& first = plan_of(group.front());
    if (std::all_of(group.begin(), group.end(), [&](const Linear* linear) {
          return AreAlike(first, plan_of(linear));
        })) {
      continue;
    }
    const auto append_name = [](std::string* out, const Linear* linear) {
      absl::StrAppend(out, "'", linear->layer, "'");
    };
    plan.warnings.push_back(
        StrCat("layers ", absl::StrJoin(group, ", ", append_name),
               " read one input but have different schemes or methods; engines "
               "that merge such layers will not load the bundle"));
  }
  const bool any_int8 = std::any_of(
      plan.layers.begin(), plan.layers.end(),
      [](const auto& l) { return model::IsInt8(l.second.scheme.scheme); });
  if (!any_int8) plan.warnings.emplace_back("no layer is quantized to INT8");
}

absl::StatusOr<QuantizationPlan> PlanFromStatistics(
    const model::Graph& graph, const PlanRequest& request,
    const StatisticsByLayer& statistics) {
  QuantizationPlan plan;
  const auto plan_part =
      [&](const AlikeLinears& part,
          const LayerStatistics* seen) -> absl::StatusOr<LayerPlan> {
    const InputFacts facts{.layer = part.linears.front()->layer,
                           .statistics = seen,
                           .samples = {},
                           .weights = nullptr};
    return PlanInput(part.request, request, facts, nullptr, plan.warnings);
  };
  RETURN_IF_ERROR(PlanParts(graph, request, statistics, plan_part, plan));
  return plan;
}

absl::StatusOr<QuantizationPlan> MakePlan(const PlanJob& job) {
  QuantizationPlan plan;
  const auto plan_part =
      [&](const AlikeLinears& part,
          const LayerStatistics* seen) -> absl::StatusOr<LayerPlan> {
    const std::string& layer = part.linears.front()->layer;
    if (job.cancelled && job.cancelled()) {
      return absl::CancelledError("the quantization was cancelled");
    }
    std::optional<SharedWeights> weights;
    if (NeedsWeights(part.request)) {
      ASSIGN_OR_RETURN(
          weights, SharedWeights::Load(part.linears, job.checkpoint, job.pool));
    }
    const InputFacts facts{.layer = layer,
                           .statistics = seen,
                           .samples = job.calibration.SamplesOf(layer),
                           .weights = weights ? &*weights : nullptr};
    return PlanInput(part.request, job.request, facts, job.pool, plan.warnings);
  };
  RETURN_IF_ERROR(PlanParts(job.graph, job.request, job.calibration.ByLayer(),
                            plan_part, plan));
  return plan;
}

void FoldWhatFolds(const model::Graph& graph, QuantizationPlan& plan) {
  model::LayerFactors smoothing;
  for (const auto& [layer, layer_plan] : plan.layers) {
    if (layer_plan.scheme.smoothed) smoothing[layer] = layer_plan.smoothing;
  }
  plan.folds = model::FoldSmoothing(graph, smoothing);
  for (const Linear* linear : graph.Linears()) {
    if (!plan.folds.multiplied.contains(linear->layer)) continue;
    LayerPlan& folded = plan.layers[linear->layer];
    folded.scheme.smoothed = false;
    folded.smoothing_folded_into = *model::FoldTarget(graph, linear->input);
  }
}

}  // namespace octet::quantization
