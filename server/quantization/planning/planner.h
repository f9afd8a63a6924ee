// Which layer gets which scheme and methods, and why: policy `fixed`. What
// policy `auto` does is in search.h.

#ifndef OCTET_SERVER_QUANTIZATION_PLANNING_PLANNER_H_
#define OCTET_SERVER_QUANTIZATION_PLANNING_PLANNER_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/thread_pool.h"
#include "server/model/fold_smoothing.h"
#include "server/model/graph.h"
#include "server/model/tensor.h"
#include "server/quantization/calibration/calibration.h"
#include "server/quantization/calibration/statistics.h"
#include "server/quantization/methods/layer_plan.h"
#include "server/quantization/planning/policy.h"

namespace octet::quantization {

struct QuantizationPlan {
  std::map<std::string, LayerPlan> layers;  // every linear of the graph
  model::SmoothingFolds folds;              // see FoldWhatFolds below
  std::vector<std::string> warnings;
};

// Adds what only shows once all layers are planned: linears of one input that
// differ, and that none is INT8. Plans here have these warnings.
void WarnOfWholePlan(const model::Graph& graph, QuantizationPlan& plan);

// A plan from statistics alone, to find out at once what cannot work: smoothing
// vectors, and static ranges behind a smoothing or a rotation, are left out.
//
// Linears that read the same value (q, k and v) are planned as one: the first
// linears are all that read the first one's input, and smoothing, static range
// and outlier columns are those of the input, so that engines which merge such
// linears can load the bundle. A layer of so few inputs that INT8 and its
// scales would be larger than 16 bits stays float unless an override says
// otherwise.
//
// Errors: those of ResolveRequest; FAILED_PRECONDITION when a scheme or method
// needs a calibration that has seen the layer's inputs.
absl::StatusOr<QuantizationPlan> PlanFromStatistics(
    const model::Graph& graph, const PlanRequest& request,
    const StatisticsByLayer& statistics);

struct PlanJob {
  const model::Graph& graph;
  const model::TensorSource& checkpoint;
  const Calibration& calibration;
  const PlanRequest& request;
  kernels::ThreadPool* pool = nullptr;
  std::function<bool()> cancelled;  // may be empty
};

// The same with nothing left out. A block of each weight of one input's linears
// is in memory at a time, and only where smoothing looks at them. Errors: also
// CANCELLED.
absl::StatusOr<QuantizationPlan> MakePlan(const PlanJob& job);

// Where a smoothing can be a part of what makes the input, it becomes that
// (model/fold_smoothing.h): the layers lose `scheme.smoothed`, and the plan has
// the folds.
void FoldWhatFolds(const model::Graph& graph, QuantizationPlan& plan);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_PLANNING_PLANNER_H_
