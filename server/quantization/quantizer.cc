#include "server/quantization/quantizer.h"

#include <memory>
#include <utility>
#include <vector>

#include "kernels/status_macros.h"
#include "server/bundle/atomic_file.h"
#include "server/bundle/compressed_tensors.h"
#include "server/bundle/shard_writer.h"
#include "server/model/fold_smoothing.h"
#include "server/model/importer.h"
#include "server/model/str_cat.h"
#include "server/quantization/companion_files.h"
#include "server/quantization/evaluator.h"
#include "server/quantization/report_data.h"
#include "server/quantization/search.h"
#include "server/quantization/size_report.h"
#include "server/quantization/storage.h"
#include "server/quantization/tensor_writer.h"

namespace octet::quantization {

namespace {

absl::Status WriteTensors(const QuantizeJob& job,
                          const model::TensorSource& checkpoint,
                          const std::vector<StoredTensor>& tensors,
                          const Calibration& calibration,
                          const QuantizationPlan& plan, ProgressMeter& progress,
                          bundle::QuantizationReport& report) {
  std::vector<bundle::TensorInfo> infos;
  for (const StoredTensor& tensor : tensors) {
    infos.insert(infos.end(), tensor.parts.begin(), tensor.parts.end());
  }
  // "pt" is how the format says that names and layouts are PyTorch's.
  const bundle::SafetensorsMetadata metadata = {
      {"format", "pt"}, {"octet.version", job.provenance.octet_version}};
  ASSIGN_OR_RETURN(const std::unique_ptr<bundle::ShardWriter> writer,
                   bundle::ShardWriter::Create(job.output, infos, metadata,
                                               job.max_shard_bytes));
  TensorWriter tensor_writer(checkpoint, job.pool, job.cancelled, *writer);
  for (const StoredTensor& tensor : tensors) {
    if (tensor.linear == nullptr) {
      RETURN_IF_ERROR(tensor_writer.Write(tensor, nullptr, {}, nullptr));
      continue;
    }
    const std::string& name = tensor.linear->layer;
    RETURN_IF_ERROR(progress.Step("quantize", name));
    const LayerPlan& layer = plan.layers.find(name)->second;
    bundle::LayerReport layer_report = DescribeLayer(tensor, layer);
    RETURN_IF_ERROR(tensor_writer.Write(
        tensor, &layer, calibration.SamplesOf(name), &layer_report));
    report.layers.push_back(std::move(layer_report));
  }
  return writer->Finish();
}

// Writes config.json and says in the manifest what it could not express.
absl::Status WriteConfig(const QuantizeJob& job,
                         const bundle::ModelFiles& checkpoint,
                         const model::Graph& graph,
                         bundle::Manifest& manifest) {
  const auto config = checkpoint.configs.find("config.json");
  if (config == checkpoint.configs.end()) {
    manifest.compressed_tensors = "the checkpoint has no config.json";
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(
      const bundle::CompressedTensorsConfig described,
      bundle::DescribeAsCompressedTensors(
          config->second, bundle::CheckpointLinears(graph, *checkpoint.tensors),
          manifest.plan));
  manifest.compressed_tensors = described.why_not;
  return bundle::WriteFileAtomically(job.output / "config.json",
                                     described.config_json);
}

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
  constexpr uint64_t kMiB = uint64_t{1} << 20;
  if (job.calibration == nullptr ||
      EvaluationSteps(graph, *job.calibration) == 0) {
    return "calibration kept no samples";
  }
  const uint64_t needed =
      report.checkpoint_bytes + report.bundle_bytes + FoldedBytes(graph, folds);
  if (needed <= job.max_measure_bytes) return "";
  return model::StrCat(
      "that takes the model in FP32 and the bundle in memory, ", needed / kMiB,
      " MiB, and the server allows ", job.max_measure_bytes / kMiB,
      " MiB (--measure-memory-mib)");
}

absl::Status Measure(const QuantizeJob& job,
                     const bundle::ModelFiles& checkpoint,
                     const model::Graph& graph,
                     const model::SmoothingFolds& folds,
                     const model::Plan& plan, ProgressMeter& progress,
                     bundle::QuantizationReport& report) {
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
                   model::Model::Create(graph, *files.tensors, plan));
  const EvaluateOptions options{.pool = job.pool,
                                .cancelled = job.cancelled,
                                .on_layer =
                                    [&](const std::string& layer) {
                                      return progress.Step("measure", layer);
                                    },
                                .folded_inputs = &folds.multiplied};
  return Evaluate(*float_model, *quantized, *job.calibration, options, report);
}

size_t PlanSteps(const model::Graph& graph, const PlanRequest& request) {
  return request.policy == Policy::kAuto ? SearchSteps(graph, request) : 0;
}

// Policy `auto` runs the whole model: as FP32, with trials in memory, and as
// these make it.
absl::Status CheckRoomForSearch(const QuantizeJob& job,
                                const model::TensorSource& checkpoint) {
  constexpr uint64_t kMiB = uint64_t{1} << 20;
  ASSIGN_OR_RETURN(const uint64_t as_float, BytesAsFloat(checkpoint));
  const uint64_t needed = 2 * as_float;
  if (needed <= job.max_measure_bytes) return absl::OkStatus();
  return absl::FailedPreconditionError(model::StrCat(
      "policy 'auto' runs the whole model, in FP32 and quantized: that takes "
      "up to ",
      needed / kMiB, " MiB, and the server allows ",
      job.max_measure_bytes / kMiB,
      " MiB (--measure-memory-mib); allow more, or use policy 'fixed', which "
      "takes a layer at a time"));
}

// The plan alone for policy `fixed`, which measures nothing.
absl::StatusOr<SearchResult> ChoosePlan(const QuantizeJob& job,
                                        const model::TensorSource& checkpoint,
                                        const model::Graph& graph,
                                        const Calibration& calibration,
                                        ProgressMeter& progress) {
  if (job.request.policy == Policy::kAuto) {
    RETURN_IF_ERROR(CheckRoomForSearch(job, checkpoint));
    return SearchPlan({.graph = graph,
                       .checkpoint = checkpoint,
                       .calibration = calibration,
                       .request = job.request,
                       .pool = job.pool,
                       .cancelled = job.cancelled,
                       .on_step = [&](const std::string& layer) {
                         return progress.Step("search", layer);
                       }});
  }
  SearchResult result;
  ASSIGN_OR_RETURN(result.plan, MakePlan({.graph = graph,
                                          .checkpoint = checkpoint,
                                          .calibration = calibration,
                                          .request = job.request,
                                          .pool = job.pool,
                                          .cancelled = job.cancelled}));
  return result;
}

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
  const Calibration empty;
  const Calibration& calibration =
      job.calibration == nullptr ? empty : *job.calibration;
  constexpr size_t kPlanAndWrite = 2;
  ProgressMeter progress(job.on_progress, job.cancelled,
                         kPlanAndWrite + graph.Linears().size() +
                             PlanSteps(graph, job.request) +
                             EvaluationSteps(graph, calibration));

  RETURN_IF_ERROR(progress.Step("plan", ""));
  ASSIGN_OR_RETURN(
      SearchResult found,
      ChoosePlan(job, *checkpoint.tensors, graph, calibration, progress));
  QuantizationPlan& plan = found.plan;
  FoldWhatFolds(graph, plan);
  ASSIGN_OR_RETURN(
      const std::vector<StoredTensor> tensors,
      PlanStorage(graph, *checkpoint.tensors, job.request.float_scheme,
                  job.cancelled, job.pool, plan));

  bundle::Manifest manifest;
  manifest.family = graph.family;
  manifest.provenance = job.provenance;
  manifest.statistics = DescribeRanges(calibration, plan.layers);
  for (const auto& [layer, layer_plan] : plan.layers) {
    manifest.plan[layer] = layer_plan.scheme;
  }
  bundle::QuantizationReport& report = manifest.report;
  report.warnings = plan.warnings;
  if (job.calibration != nullptr) {
    for (std::string& warning : calibration.Warnings()) {
      report.warnings.push_back(std::move(warning));
    }
  }
  RETURN_IF_ERROR(WriteTensors(job, *checkpoint.tensors, tensors, calibration,
                               plan, progress, report));
  RETURN_IF_ERROR(CountBytes(*checkpoint.tensors, tensors, report));
  SortByExecution(graph, report.layers);
  if (job.request.policy == Policy::kAuto) found.AddTo(report);
  RETURN_IF_ERROR(CopyCompanionFiles(job.checkpoint, job.output));
  RETURN_IF_ERROR(WriteConfig(job, checkpoint, graph, manifest));
  RETURN_IF_ERROR(Measure(job, checkpoint, graph, plan.folds, manifest.plan,
                          progress, report));
  DescribeInputs(calibration, plan.layers, report);
  DescribeFrontier(report);
  LimitDetails(report);

  RETURN_IF_ERROR(progress.Step("write", ""));
  RETURN_IF_ERROR(bundle::WriteManifest(job.output, manifest));
  // Read back: the caller gets what the bundle says, digests included.
  ASSIGN_OR_RETURN(const bundle::Bundle written,
                   bundle::OpenBundle(job.output, bundle::Verify::kSizes));
  return written.manifest;
}

}  // namespace octet::quantization
