// Policy `auto`: the plan, found by measurement.
//
//   1. every way to quantize the linears of each input is tried on rows that
//      calibration kept: noise, seconds, bytes (trial.h)
//   2. the model's output is measured with each input's linears alone
//      quantized: what their noise does to it (sensitivity.h)
//   3. the fastest plan within the budget by these numbers, or, for a budget
//      of size, the most exact one (choice.h)
//   4. the whole plan is measured on kept samples that step 2 did not use and
//      that nothing was fitted to (hold_out.h);
//      where it does not keep to the budget, or keeps to it by far, the limit
//      of step 3 is corrected by what was found
//   5. the plan's bundle is measured as it is stored, on all samples that are
//      held out, by the caller (quantizer.h); where that does not keep to the
//      budget, the search goes on
//
// The promise is about texts nobody has seen: a mean cosine must hold with 95 %
// confidence (one-sided, normal), since the samples are few, and a fifth of the
// error that the budget allows is kept back, since they are of one kind.

#ifndef OCTET_SERVER_QUANTIZATION_SEARCH_SEARCH_H_
#define OCTET_SERVER_QUANTIZATION_SEARCH_SEARCH_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/thread_pool.h"
#include "server/bundle/report.h"
#include "server/model/graph.h"
#include "server/model/tensor.h"
#include "server/quantization/calibration/calibration.h"
#include "server/quantization/planning/planner.h"
#include "server/quantization/planning/policy.h"

namespace octet::quantization {

struct SearchJob {
  const model::Graph& graph;
  const model::TensorSource& checkpoint;
  const Calibration& calibration;
  const PlanRequest& request;
  kernels::ThreadPool* pool = nullptr;
  std::function<bool()> cancelled;  // may be empty
  // Called before each step of work; an error stops the search. May be empty.
  std::function<absl::Status(const std::string& layer)> on_step;
};

struct SearchResult {
  QuantizationPlan plan;
  // What the report says of the search.
  std::map<std::string, std::vector<bundle::CandidateReport>> candidates;
  std::vector<bundle::FrontierPoint> frontier;
  int64_t verified_plans = 0;
  int64_t tuned_rows = 0;
  std::string speed_kernel;

  // The chosen plan's numbers are those that the report has of its bundle.
  void AddTo(bundle::QuantizationReport& report) const;
};

// The most calls of `on_step`.
size_t SearchSteps(const model::Graph& graph, const PlanRequest& request);

class PlanSearch {
 public:
  // What the job refers to outlives this.
  explicit PlanSearch(SearchJob job);
  ~PlanSearch();

  // The fastest plan that keeps to the budget, or the most exact of a size, and
  // that was not refused. Errors: those of ResolveRequest and QuantizeLayer;
  // FAILED_PRECONDITION where calibration kept nothing to measure on, or too
  // little for a mean that is promised, the model has no output, or no plan
  // keeps to the budget (with the best that was reached, and the layers in the
  // way); CANCELLED.
  absl::StatusOr<SearchResult> Next();

  // The last plan does not keep to the budget once it is stored.
  void Refuse(const bundle::QuantizationReport& measured);

 private:
  class Search;
  std::unique_ptr<Search> search_;
};

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_SEARCH_SEARCH_H_
