#include "server/quantization/planning/input_plan.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/quantization/methods/calibrators.h"
#include "server/quantization/methods/input_transform.h"
#include "server/quantization/methods/outliers.h"
#include "server/quantization/methods/smoothing.h"

namespace octet::quantization {
namespace {

using kernels::MatrixView;
using model::Scheme;

// What of the request needs calibration; "" when nothing does.
std::string WhatNeedsCalibration(const LayerRequest& request) {
  if (request.scheme == Scheme::kW8A8Static ||
      request.scheme == Scheme::kLlmInt8) {
    return model::StrCat("scheme '", model::Name(request.scheme), "'");
  }
  const Methods& methods = request.methods;
  if (methods.smoothing != Smoothing::kNone) return "smoothing";
  if (methods.rounding == Rounding::kGptq) return "rounding 'gptq'";
  if (methods.bias_correction) return "bias correction";
  return "";
}

// The smoothing that the methods ask for; `plan` is complete but for it and
// what follows from it.
absl::Status PlanSmoothing(const Methods& methods, const InputFacts& facts,
                           kernels::ThreadPool* pool, LayerPlan& plan) {
  const std::vector<float>& absmax = facts.statistics->column_absmax;
  if (methods.smoothing == Smoothing::kAlpha) {
    plan.smoothing_alpha = static_cast<float>(methods.smoothing_alpha);
    plan.smoothing = SmoothingFactors(absmax, facts.weights->column_absmax(),
                                      plan.smoothing_alpha);
  } else {
    ASSIGN_OR_RETURN(SmoothingChoice choice,
                     SearchSmoothing(absmax, *facts.weights, plan,
                                     facts.samples.rows, pool));
    plan.smoothing_alpha = choice.alpha;
    plan.smoothing = std::move(choice.factors);
  }
  plan.scheme.smoothed = true;
  return absl::OkStatus();
}

// What the kept rows are after smoothing, or rotation, or both; in batches of
// as many rows as calibration's had on average, for averages over batches.
LayerStatistics StatisticsBehind(const LayerPlan& plan,
                                 const InputFacts& facts) {
  const MatrixView<const float> x = facts.samples.rows;
  const std::vector<float> values = TransformedInputs(plan, x);
  const MatrixView<const float> rows(values.data(), x.rows, x.cols);
  const LayerStatistics& seen = *facts.statistics;
  const uint64_t per_batch = std::max<uint64_t>(1, seen.rows / seen.batches);
  const size_t batches = std::max<size_t>(1, x.rows / per_batch);
  LayerStatistics statistics(x.cols);
  for (size_t b = 0; b < batches; ++b) {
    const size_t begin = b * x.rows / batches;
    const size_t end = (b + 1) * x.rows / batches;
    statistics.Observe(rows.Rows(begin, end - begin));
  }
  return statistics;
}

void PlanOutliers(const PlanRequest& request, const InputFacts& facts,
                  LayerPlan& plan, std::vector<std::string>& warnings) {
  const LayerStatistics& statistics = *facts.statistics;
  double threshold = request.outlier_threshold;
  if (request.outlier_rule == OutlierRule::kSigma) {
    threshold *= plan.smoothing.empty()
                     ? statistics.sigma()
                     : SmoothedSigma(facts.samples, plan.smoothing);
  }
  const auto stored = static_cast<float>(threshold);
  if (!std::isnormal(stored)) {
    warnings.push_back(absl::StrFormat(
        "layer '%s': its inputs did not vary in calibration, so %g sigma is "
        "no threshold; no outliers are taken out",
        facts.layer, request.outlier_threshold));
    return;
  }
  plan.scheme.outlier_threshold = stored;
  const size_t columns = statistics.columns();
  plan.outlier_columns =
      OutlierColumnsOf(statistics.column_absmax, plan.smoothing, stored);
  const size_t count = plan.outlier_columns.size();
  if (static_cast<double>(count) >
      kManyOutliers * static_cast<double>(columns)) {
    warnings.push_back(absl::StrFormat(
        "layer '%s': %d of %d input columns reach the outlier threshold %g; "
        "a higher threshold would keep more of the layer in INT8",
        facts.layer, count, columns, stored));
  }
}

// Extremes of x / smoothing over all rows that were seen.
Range SmoothedExtremes(const LayerStatistics& statistics,
                       absl::Span<const float> smoothing) {
  Range range;
  for (size_t k = 0; k < smoothing.size(); ++k) {
    range.min = std::min(range.min, statistics.column_min[k] / smoothing[k]);
    range.max = std::max(range.max, statistics.column_max[k] / smoothing[k]);
  }
  return range;
}

// Of the statistics, or of what the kept rows become.
AffineParameters PlanRange(const Methods& methods, const InputFacts& facts,
                           const LayerPlan& plan) {
  Range range;
  if (methods.calibrator == Calibrator::kMinMax && !plan.smoothing.empty() &&
      plan.scheme.hadamard_block == 0) {
    range = SmoothedExtremes(*facts.statistics, plan.smoothing);
    return AffineFromRange(range.min, range.max);
  }
  if (plan.smoothing.empty() && plan.scheme.hadamard_block == 0) {
    range =
        ChooseRange(methods.calibrator, *facts.statistics, methods.percentile);
  } else {
    range = ChooseRange(methods.calibrator, StatisticsBehind(plan, facts),
                        methods.percentile);
  }
  return AffineFromRange(range.min, range.max);
}

}  // namespace

bool NeedsWeights(const LayerRequest& request) {
  return model::IsInt8(request.scheme) &&
         request.methods.smoothing != Smoothing::kNone;
}

absl::StatusOr<LayerPlan> PlanInput(const LayerRequest& request,
                                    const PlanRequest& outliers,
                                    const InputFacts& facts,
                                    kernels::ThreadPool* pool,
                                    std::vector<std::string>& warnings) {
  LayerPlan plan;
  plan.scheme.scheme = request.scheme;
  plan.reason = request.reason;
  if (!model::IsInt8(request.scheme)) return plan;
  const std::string needs = WhatNeedsCalibration(request);
  if (!needs.empty() && facts.statistics == nullptr) {
    return absl::FailedPreconditionError(
        model::StrCat("layer '", facts.layer, "': ", needs,
                      " needs a calibration that has seen its inputs"));
  }
  const Methods& methods = request.methods;
  plan.scheme.hadamard_block = methods.hadamard_block;
  plan.scheme.group_size = methods.group_size;
  plan.rounding = methods.rounding;
  plan.bias_correction = methods.bias_correction;
  if (methods.smoothing != Smoothing::kNone && facts.weights != nullptr) {
    RETURN_IF_ERROR(PlanSmoothing(methods, facts, pool, plan));
  }
  if (request.scheme == Scheme::kLlmInt8) {
    PlanOutliers(outliers, facts, plan, warnings);
  } else if (request.scheme == Scheme::kW8A8Static) {
    plan.input = PlanRange(methods, facts, plan);
    plan.calibrator = methods.calibrator;
    plan.percentile = methods.percentile;
  }
  return plan;
}

}  // namespace octet::quantization
