// Which layer gets which scheme, and why.

#ifndef OCTET_SERVER_QUANTIZATION_PLANNER_H_
#define OCTET_SERVER_QUANTIZATION_PLANNER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/model/graph.h"
#include "server/model/scheme.h"
#include "server/quantization/layer_plan.h"
#include "server/quantization/statistics.h"

namespace octet::quantization {

enum class OutlierRule { kAbsolute, kSigma };

// Patterns are shell globs over layer names: "encoder.layer.*.output.dense".
struct PlanRequest {
  model::Scheme scheme = model::Scheme::kW8A8Dynamic;
  model::Scheme float_scheme = model::Scheme::kFp16;  // for what stays float
  std::vector<std::string> include;                   // empty: every linear
  std::vector<std::string> exclude;                   // wins over include
  bool keep_first = false;  // first linear(s) stay float
  bool keep_last = false;   // last linear stays float
  struct Override {
    std::string pattern;
    model::Scheme scheme;
  };
  std::vector<Override> overrides;  // the last that matches wins
  OutlierRule outlier_rule = OutlierRule::kAbsolute;
  double outlier_threshold = 6.0;  // absolute value, or multiple of sigma
};

struct QuantizationPlan {
  std::map<std::string, LayerPlan> layers;  // every linear of the graph
  std::vector<std::string> warnings;
};

// Linears that read the same value (q, k and v) are planned as one: the first
// linears are all that read the first one's input, and static range and
// outlier columns come from the statistics of all of them, so that engines
// which merge them can load the bundle. A layer of so few inputs that INT8 and
// its scales would be larger than 16 bits stays float unless an override says
// otherwise.
//
// Errors: INVALID_ARGUMENT when a pattern matches no layer or a threshold is
// not positive; FAILED_PRECONDITION when a scheme needs statistics of a layer
// that calibration has not seen.
absl::StatusOr<QuantizationPlan> MakePlan(const model::Graph& graph,
                                          const PlanRequest& request,
                                          const StatisticsByLayer& statistics);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_PLANNER_H_
