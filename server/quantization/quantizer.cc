#include "server/quantization/quantizer.h"

#include <algorithm>
#include <array>
#include <memory>
#include <system_error>
#include <utility>

#include "kernels/status_macros.h"
#include "server/bundle/atomic_file.h"
#include "server/bundle/compressed_tensors.h"
#include "server/bundle/io.h"
#include "server/bundle/safetensors.h"
#include "server/model/importer.h"
#include "server/model/str_cat.h"
#include "server/quantization/evaluator.h"
#include "server/quantization/report_data.h"
#include "server/quantization/search.h"
#include "server/quantization/storage.h"
#include "server/quantization/tensor_writer.h"

namespace octet::quantization {

namespace fs = std::filesystem;

namespace {

using model::DataType;
using model::Linear;
using model::StrCat;
using model::TensorView;

// Tells the caller how far the work is, and asks whether to go on.
class ProgressMeter {
 public:
  ProgressMeter(const QuantizeJob& job, size_t total)
      : job_(job), total_(static_cast<int>(total)) {}

  // Begins a step.
  absl::Status Step(const std::string& stage, const std::string& layer) {
    if (job_.cancelled && job_.cancelled()) {
      return absl::CancelledError("the quantization was cancelled");
    }
    if (job_.on_progress) job_.on_progress({stage, layer, done_, total_});
    done_ = std::min(done_ + 1, total_);
    return absl::OkStatus();
  }

 private:
  const QuantizeJob& job_;
  int total_;
  int done_ = 0;
};

bundle::LayerReport DescribeLayer(const StoredTensor& stored,
                                  const LayerPlan& plan) {
  const Linear& linear = *stored.linear;
  bundle::LayerReport report;
  report.layer = linear.layer;
  report.rows = static_cast<int64_t>(linear.out_features);
  report.cols = static_cast<int64_t>(linear.in_features);
  report.float_bytes =
      uint64_t{linear.out_features} * linear.in_features * sizeof(float);
  for (const bundle::TensorInfo& part : stored.parts) {
    report.stored_bytes += ByteSize(part);
  }
  DescribeMethods(plan, report);
  return report;
}

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
  ASSIGN_OR_RETURN(
      const std::unique_ptr<bundle::SafetensorsWriter> writer,
      bundle::SafetensorsWriter::Create(job.output / "model.safetensors",
                                        std::move(infos), metadata));
  TensorWriter tensor_writer(checkpoint, job.pool, *writer);
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
    report.linear_float_bytes += layer_report.float_bytes;
    report.linear_stored_bytes += layer_report.stored_bytes;
    report.layers.push_back(std::move(layer_report));
  }
  return writer->Finish();
}

// The checkpoint's tensors as FP32, and the bundle's.
absl::Status CountBytes(const model::TensorSource& checkpoint,
                        const std::vector<StoredTensor>& tensors,
                        bundle::QuantizationReport& report) {
  for (const StoredTensor& stored : tensors) {
    ASSIGN_OR_RETURN(const TensorView tensor, checkpoint.Find(stored.name));
    const bool is_half =
        tensor.type == DataType::kF16 || tensor.type == DataType::kBF16;
    report.checkpoint_bytes += tensor.bytes.size() * (is_half ? 2 : 1);
    for (const bundle::TensorInfo& part : stored.parts) {
      report.bundle_bytes += ByteSize(part);
    }
  }
  return absl::OkStatus();
}

// Layers in execution order are what people expect to read.
void SortByExecution(const model::Graph& graph,
                     std::vector<bundle::LayerReport>& layers) {
  std::map<std::string, size_t> place;
  for (const Linear* linear : graph.Linears()) {
    place.emplace(linear->layer, place.size());
  }
  std::sort(layers.begin(), layers.end(), [&](const auto& a, const auto& b) {
    return place[a.layer] < place[b.layer];
  });
}

// Tokenizers, module lists and notices; weights in other formats stay behind,
// since they would still be the float ones.
bool IsCompanionFile(const fs::path& path) {
  static constexpr std::array<std::string_view, 6> kExtensions = {
      ".json", ".txt", ".model", ".jinja", ".md", ""};
  static constexpr std::array<std::string_view, 3> kWritten = {
      "config.json", "octet.json", "model.safetensors.index.json"};
  const auto is_in = [](const auto& list, const std::string& text) {
    return std::find(list.begin(), list.end(), text) != list.end();
  };
  return !path.filename().string().starts_with('.') &&
         !is_in(kWritten, path.string()) &&
         is_in(kExtensions, path.extension().string());
}

absl::Status CopyCompanions(const fs::path& from, const fs::path& to) {
  ASSIGN_OR_RETURN(const std::vector<std::string> files,
                   bundle::ListFiles(from));
  for (const std::string& file : files) {
    if (!IsCompanionFile(file)) continue;
    std::error_code error;
    fs::create_directories((to / file).parent_path(), error);
    fs::copy_file(from / file, to / file, fs::copy_options::overwrite_existing,
                  error);
    if (error) {
      return absl::InternalError(
          StrCat("copying '", file, "': ", error.message()));
    }
  }
  return absl::OkStatus();
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

void DescribeStatistics(const Calibration& calibration,
                        bundle::Manifest& manifest) {
  for (const auto& [layer, statistics] : calibration.ByLayer()) {
    manifest.statistics[layer] = {
        .rows = static_cast<int64_t>(statistics->rows),
        .min = statistics->min,
        .max = statistics->max,
        .absmax = statistics->absmax(),
        .sigma = statistics->sigma(),
    };
  }
}

absl::Status Measure(const QuantizeJob& job,
                     const bundle::ModelFiles& checkpoint,
                     const model::Graph& graph, const model::Plan& plan,
                     ProgressMeter& progress,
                     bundle::QuantizationReport& report) {
  if (job.calibration == nullptr ||
      EvaluationSteps(graph, *job.calibration) == 0) {
    report.warnings.emplace_back(
        "errors of activations and of the whole model are not measured: "
        "calibration kept no samples");
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<const model::Model> float_model,
                   bundle::LoadFloatModel(checkpoint));
  ASSIGN_OR_RETURN(const bundle::ModelFiles files,
                   bundle::OpenModelFiles(job.output));
  ASSIGN_OR_RETURN(const std::unique_ptr<const model::Model> quantized,
                   model::Model::Create(graph, *files.tensors, plan));
  const EvaluateOptions options{.pool = job.pool,
                                .cancelled = job.cancelled,
                                .on_layer = [&](const std::string& layer) {
                                  return progress.Step("measure", layer);
                                }};
  return Evaluate(*float_model, *quantized, *job.calibration, options, report);
}

size_t PlanSteps(const model::Graph& graph, const PlanRequest& request) {
  return request.policy == Policy::kAuto ? SearchSteps(graph, request) : 0;
}

// The plan alone for policy `fixed`, which measures nothing.
absl::StatusOr<SearchResult> Plan(const QuantizeJob& job,
                                  const model::TensorSource& checkpoint,
                                  const model::Graph& graph,
                                  const Calibration& calibration,
                                  ProgressMeter& progress) {
  if (job.request.policy == Policy::kAuto) {
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
  ASSIGN_OR_RETURN(result.plan, MakeWholePlan({.graph = graph,
                                               .checkpoint = checkpoint,
                                               .calibration = calibration,
                                               .request = job.request,
                                               .pool = job.pool,
                                               .cancelled = job.cancelled}));
  return result;
}

}  // namespace

absl::StatusOr<bundle::Manifest> Quantize(const QuantizeJob& job) {
  ASSIGN_OR_RETURN(const bundle::ModelFiles checkpoint,
                   bundle::OpenModelFiles(job.checkpoint));
  ASSIGN_OR_RETURN(const model::Graph graph,
                   model::Import(checkpoint.configs, *checkpoint.tensors));
  const Calibration empty;
  const Calibration& calibration =
      job.calibration == nullptr ? empty : *job.calibration;
  constexpr size_t kPlanAndWrite = 2;
  ProgressMeter progress(job, kPlanAndWrite + graph.Linears().size() +
                                  PlanSteps(graph, job.request) +
                                  EvaluationSteps(graph, calibration));

  RETURN_IF_ERROR(progress.Step("plan", ""));
  ASSIGN_OR_RETURN(SearchResult found, Plan(job, *checkpoint.tensors, graph,
                                            calibration, progress));
  QuantizationPlan& plan = found.plan;
  ASSIGN_OR_RETURN(const std::vector<StoredTensor> tensors,
                   PlanStorage(graph, *checkpoint.tensors,
                               job.request.float_scheme, job.cancelled, plan));

  bundle::Manifest manifest;
  manifest.family = graph.family;
  manifest.provenance = job.provenance;
  DescribeStatistics(calibration, manifest);
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
  RETURN_IF_ERROR(CopyCompanions(job.checkpoint, job.output));
  RETURN_IF_ERROR(WriteConfig(job, checkpoint, graph, manifest));
  RETURN_IF_ERROR(
      Measure(job, checkpoint, graph, manifest.plan, progress, report));
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
