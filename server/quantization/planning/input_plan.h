// The part of a plan that all linears which read one input share: what is done
// to the input before it becomes codes, and the range of these.

#ifndef OCTET_SERVER_QUANTIZATION_PLANNING_INPUT_PLAN_H_
#define OCTET_SERVER_QUANTIZATION_PLANNING_INPUT_PLAN_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/matrix_view.h"
#include "kernels/thread_pool.h"
#include "server/quantization/calibration/layer_samples.h"
#include "server/quantization/calibration/statistics.h"
#include "server/quantization/methods/layer_plan.h"
#include "server/quantization/methods/shared_weights.h"
#include "server/quantization/planning/policy.h"

namespace octet::quantization {

struct InputFacts {
  std::string_view layer;  // the first that reads it, for messages
  const LayerStatistics* statistics = nullptr;  // nullptr: never seen
  LayerSamples samples;
  const SharedWeights* weights = nullptr;  // only smoothing looks at them
};

// Whether PlanInput needs `weights`.
bool NeedsWeights(const LayerRequest& request);

// How a layer of this request and input is quantized. `outliers` says the rule
// and threshold of LLM.int8; they are of the smoothed input. A static range is
// of the statistics; behind a rotation, or behind a smoothing for calibrators
// that need more than extremes, of the kept rows.
//
// Errors: FAILED_PRECONDITION when a scheme or method needs calibration to
// have seen the input.
absl::StatusOr<LayerPlan> PlanInput(const LayerRequest& request,
                                    const PlanRequest& outliers,
                                    const InputFacts& facts,
                                    kernels::ThreadPool* pool,
                                    std::vector<std::string>& warnings);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_PLANNING_INPUT_PLAN_H_
