#include "server/quantization/job/bundle_measurement.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "kernels/status_macros.h"
#include "server/model/model.h"
#include "server/model/str_cat.h"
#include "server/quantization/search/evaluator.h"
#include "server/quantization/search/speed.h"
#include "server/quantization/storage/report_data.h"

namespace octet::quantization {
namespace {

// Of weights that are another matrix once smoothing is folded, as FP32.
uint64_t FoldedBytes(const model::Graph& graph,
                     const model::SmoothingFolds& folds) {
  uint64_t bytes = 0;
  for (const model::Linear* linear : graph.Linears()) {
    if (folds.divided.contains(linear->layer) ||
        folds.multiplied.contains(linear->layer)) {
      bytes += linear->out_features * linear->in_features * sizeof(float);
    }
  }
  return bytes;
}

// Why errors of activations and of the model can not be measured, or nothing.
// Measuring holds the model twice, as FP32 and as the bundle has it, and what
// is folded once more.
std::string WhyNotMeasured(const QuantizeJob& job, const model::Graph& graph,
                           const model::SmoothingFolds& folds,
                           const bundle::QuantizationReport& report) {
  if (job.calibration == nullptr ||
      EvaluationSteps(graph, *job.calibration) == 0) {
    return "calibration kept no samples";
  }
  const uint64_t needed =
      report.checkpoint_bytes + report.bundle_bytes + FoldedBytes(graph, folds);
  const std::string more = MoreThanMayBeMeasured(job, needed);
  if (more.empty()) return "";
  return model::StrCat(
      "that takes the model in FP32 and the bundle in memory, ", more);
}

bool FitsToRows(const LayerPlan& plan) {
  return model::IsInt8(plan.scheme.scheme) &&
         (plan.rounding == Rounding::kGptq || plan.bias_correction);
}

// Where too few samples were there to hold any out.
void WarnOfKnownRows(const QuantizeJob& job, const QuantizationPlan& plan,
                     bundle::QuantizationReport& report) {
  if (job.calibration->held_out > 0 || report.model_rows == 0) return;
  if (std::none_of(
          plan.layers.begin(), plan.layers.end(),
          [](const auto& layer) { return FitsToRows(layer.second); })) {
    return;
  }
  report.tuned_rows = report.model_rows;
  report.warnings.emplace_back(
      "errors are measured on the samples that rounding or biases were fitted "
      "to: on others they are larger; calibrate on more samples");
}

// How long the linears take, as FP32 and as stored.
absl::StatusOr<LinearTimes> MeasureSpeed(
    const model::Model& float_model, const model::Model& quantized,
    const std::map<std::string, LayerPlan>& plans,
    const Calibration& calibration, bundle::QuantizationReport& report) {
  constexpr double kMicroseconds = 1e6;
  SpeedTable speed;
  ASSIGN_OR_RETURN(const double as_float,
                   speed.SecondsOfLinears(float_model, {}, calibration));
  if (as_float == 0.0) return LinearTimes();
  ASSIGN_OR_RETURN(const double as_stored,
                   speed.SecondsOfLinears(quantized, plans, calibration));
  report.speed_rows = kSpeedRows;
  report.speed_kernel = speed.int8_kernel();
  return LinearTimes{kMicroseconds * as_float, kMicroseconds * as_stored};
}

}  // namespace

std::string MoreThanMayBeMeasured(const QuantizeJob& job, uint64_t bytes) {
  constexpr uint64_t kMiB = uint64_t{1} << 20;
  if (bytes <= job.max_measure_bytes) return "";
  return model::StrCat(bytes / kMiB, " MiB, and the server allows ",
                       job.max_measure_bytes / kMiB,
                       " MiB (--measure-memory-mib)");
}

absl::Status MeasureBundle(const QuantizeJob& job,
                           const bundle::ModelFiles& checkpoint,
                           const model::Graph& graph,
                           const QuantizationPlan& plan,
                           const model::Plan& schemes, ProgressMeter& progress,
                           bundle::QuantizationReport& report) {
  const model::SmoothingFolds& folds = plan.folds;
  const std::string why_not = WhyNotMeasured(job, graph, folds, report);
  if (!why_not.empty()) {
    report.warnings.push_back(
        model::StrCat("errors of activations and of the whole model are not "
                      "measured: ",
                      why_not));
    if (job.calibration != nullptr) {
      progress.Skip(EvaluationSteps(graph, *job.calibration));
    }
    return absl::OkStatus();
  }
  // Folded, so that every layer has the inputs of the bundle's.
  ASSIGN_OR_RETURN(const model::FoldedTensors folded,
                   model::FoldedTensors::Create(*checkpoint.tensors, folds));
  ASSIGN_OR_RETURN(const std::unique_ptr<const model::Model> float_model,
                   model::Model::Create(graph, folded, {}));
  ASSIGN_OR_RETURN(const bundle::ModelFiles files,
                   bundle::OpenModelFiles(job.output));
  ASSIGN_OR_RETURN(const std::unique_ptr<const model::Model> quantized,
                   model::Model::Create(graph, *files.tensors, schemes));
  const EvaluateOptions options{.pool = job.pool,
                                .cancelled = job.cancelled,
                                .on_layer =
                                    [&](const std::string& layer) {
                                      return progress.Step("measure", layer);
                                    },
                                .folded_inputs = &folds.multiplied};
  RETURN_IF_ERROR(
      Evaluate(*float_model, *quantized, *job.calibration, options, report));
  WarnOfKnownRows(job, plan, report);
  // A search has timed its trials.
  if (job.request.policy == Policy::kAuto) return absl::OkStatus();
  ASSIGN_OR_RETURN(const LinearTimes times,
                   MeasureSpeed(*float_model, *quantized, plan.layers,
                                *job.calibration, report));
  DescribeFrontier(times, report);
  return absl::OkStatus();
}

}  // namespace octet::quantization
