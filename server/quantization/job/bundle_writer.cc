#include "server/quantization/job/bundle_writer.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/status_macros.h"
#include "server/bundle/atomic_file.h"
#include "server/bundle/compressed_tensors.h"
#include "server/bundle/shard_writer.h"
#include "server/quantization/job/companion_files.h"
#include "server/quantization/storage/report_data.h"
#include "server/quantization/storage/size_report.h"
#include "server/quantization/storage/storage.h"
#include "server/quantization/storage/tensor_writer.h"

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

}  // namespace

absl::StatusOr<bundle::Manifest> WriteBundle(
    const QuantizeJob& job, const bundle::ModelFiles& checkpoint,
    const model::Graph& graph, const Calibration& calibration,
    QuantizationPlan& plan, ProgressMeter& progress) {
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
  // Before the tensors: what is wrong here shows before they take their time.
  RETURN_IF_ERROR(CopyCompanionFiles(job.checkpoint, job.output));
  RETURN_IF_ERROR(WriteConfig(job, checkpoint, graph, manifest));
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
  DescribeInputs(calibration, plan.layers, report);
  return manifest;
}

}  // namespace octet::quantization
