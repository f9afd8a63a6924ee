#include "server/quantization/job/quantizer.h"

#include <string>
#include <system_error>
#include <utility>

#include "kernels/status_macros.h"
#include "server/model/importer.h"
#include "server/model/str_cat.h"
#include "server/quantization/job/bundle_measurement.h"
#include "server/quantization/job/bundle_writer.h"
#include "server/quantization/search/evaluator.h"
#include "server/quantization/search/search.h"
#include "server/quantization/storage/budget_report.h"
#include "server/quantization/storage/report_data.h"
#include "server/quantization/storage/size_report.h"

namespace octet::quantization {
namespace {

size_t PlanSteps(const model::Graph& graph, const PlanRequest& request) {
  return request.policy == Policy::kAuto ? SearchSteps(graph, request) : 0;
}

// Policy `auto` runs the whole model: as FP32, as it was once smoothing is
// folded, and quantized, as a trial and as a bundle.
absl::Status CheckRoomForSearch(const QuantizeJob& job,
                                const model::TensorSource& checkpoint) {
  constexpr uint64_t kModels = 3;
  ASSIGN_OR_RETURN(const uint64_t as_float, BytesAsFloat(checkpoint));
  const std::string more = MoreThanMayBeMeasured(job, kModels * as_float);
  if (more.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(model::StrCat(
      "policy 'auto' runs the whole model, in FP32 and quantized: that takes "
      "up to ",
      more,
      "; allow more, or use policy 'fixed', which takes a layer at a time"));
}

// A checkpoint on its way to a bundle.
class Quantization {
 public:
  Quantization(const QuantizeJob& job, const bundle::ModelFiles& checkpoint,
               const model::Graph& graph)
      : job_(job),
        checkpoint_(checkpoint),
        graph_(graph),
        calibration_(job.calibration == nullptr ? empty_ : *job.calibration),
        progress_(
            job.on_progress, job.cancelled,
            kPlanAndWrite + PlanSteps(graph, job.request) + StoreSteps()) {}

  absl::Status Run() {
    RETURN_IF_ERROR(progress_.Step("plan", ""));
    if (job_.request.policy == Policy::kAuto) {
      RETURN_IF_ERROR(StoreWhatHolds());
    } else {
      RETURN_IF_ERROR(StoreWhatIsAskedFor());
    }
    LimitDetails(manifest_.report);
    RETURN_IF_ERROR(progress_.Step("write", ""));
    return bundle::WriteManifest(job_.output, manifest_);
  }

 private:
  absl::Status StoreWhatIsAskedFor() {
    ASSIGN_OR_RETURN(QuantizationPlan plan,
                     MakePlan({.graph = graph_,
                               .checkpoint = *checkpoint_.tensors,
                               .calibration = calibration_,
                               .request = job_.request,
                               .pool = job_.pool,
                               .cancelled = job_.cancelled}));
    return Store(plan);
  }

  // The search measures plans in memory; what was promised is the bundle.
  absl::Status StoreWhatHolds() {
    RETURN_IF_ERROR(CheckRoomForSearch(job_, *checkpoint_.tensors));
    PlanSearch search({.graph = graph_,
                       .checkpoint = *checkpoint_.tensors,
                       .calibration = calibration_,
                       .request = job_.request,
                       .pool = job_.pool,
                       .cancelled = job_.cancelled,
                       .on_step = [this](const std::string& layer) {
                         return progress_.Step("search", layer);
                       }});
    for (;;) {
      ASSIGN_OR_RETURN(SearchResult found, search.Next());
      RETURN_IF_ERROR(Store(found.plan));
      bundle::QuantizationReport& report = manifest_.report;
      report.budgets = DescribeBudgets(job_.request.budget, report);
      found.AddTo(report);
      if (HoldsAll(report.budgets)) return absl::OkStatus();
      search.Refuse(report);
      progress_.Add(StoreSteps());
      RETURN_IF_ERROR(EmptyOutput());
    }
  }

  absl::Status Store(QuantizationPlan& plan) {
    ASSIGN_OR_RETURN(manifest_, WriteBundle(job_, checkpoint_, graph_,
                                            calibration_, plan, progress_));
    return MeasureBundle(job_, checkpoint_, graph_, plan, manifest_.plan,
                         progress_, manifest_.report);
  }

  absl::Status EmptyOutput() const {
    std::error_code error;
    for (const auto& entry :
         std::filesystem::directory_iterator(job_.output, error)) {
      std::filesystem::remove_all(entry.path(), error);
      if (error) break;
    }
    if (!error) return absl::OkStatus();
    return absl::InternalError(model::StrCat(
        "cannot empty ", job_.output.string(), ": ", error.message()));
  }

  size_t StoreSteps() const {
    return graph_.Linears().size() + EvaluationSteps(graph_, calibration_);
  }

  static constexpr size_t kPlanAndWrite = 2;

  const QuantizeJob& job_;
  const bundle::ModelFiles& checkpoint_;
  const model::Graph& graph_;
  const Calibration empty_;
  const Calibration& calibration_;
  ProgressMeter progress_;
  bundle::Manifest manifest_;
};

}  // namespace

absl::Status CheckIsFloat(const bundle::ModelFiles& checkpoint) {
  if (checkpoint.plan.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(model::StrCat(
      "the checkpoint is quantized already (config.json: quantization_config; "
      "tensor '",
      checkpoint.plan.begin()->first,
      ".weight' is I8): load it as it is, or quantize the float one"));
}

absl::StatusOr<bundle::Manifest> Quantize(const QuantizeJob& job) {
  ASSIGN_OR_RETURN(const bundle::ModelFiles checkpoint,
                   bundle::OpenCheckpoint(job.checkpoint));
  RETURN_IF_ERROR(CheckIsFloat(checkpoint));
  ASSIGN_OR_RETURN(const model::Graph graph,
                   model::Import(checkpoint.configs, *checkpoint.tensors));
  RETURN_IF_ERROR(Quantization(job, checkpoint, graph).Run());
  // Read back: the caller gets what the bundle says, digests included.
  ASSIGN_OR_RETURN(const bundle::Bundle written,
                   bundle::OpenBundle(job.output, bundle::Verify::kSizes));
  return written.manifest;
}

}  // namespace octet::quantization
