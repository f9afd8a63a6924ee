#include "server/serving/loaded_model.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "kernels/status_macros.h"
#include "server/model/linear_layer.h"
#include "server/model/values.h"
#include "server/serving/live_input.h"

namespace octet::serving {
namespace {

// Linears that are not quantized have no phases.
bool Any(const kernels::PhaseTimes& times) {
  return times.quantize_ns + times.dot_ns + times.dequantize_ns +
             times.outlier_ns >
         0;
}

}  // namespace

ModelStats& ModelStats::operator+=(const ModelStats& other) {
  forward_count += other.forward_count;
  matmul_count += other.matmul_count;
  row_count += other.row_count;
  times += other.times;
  return *this;
}

LoadedModel::LoadedModel(std::string id, std::string source, int64_t version,
                         std::unique_ptr<const model::Model> model,
                         telemetry::Metrics* metrics, Watch watch,
                         Watcher* watcher)
    : id_(std::move(id)),
      source_(std::move(source)),
      version_(version),
      load_time_(absl::Now()),
      model_(std::move(model)),
      metrics_(metrics),
      watch_(std::move(watch)),
      watcher_(watcher) {
  const model::Graph& graph = model_->graph();
  input_shape_ = InputShape(graph);
  pools_sequences_ =
      graph.output && model::LayOutValues(graph, *graph.output).per_sequence;
  for (const model::Linear* linear : graph.Linears()) {
    linears_.emplace(linear->layer, linear);
    multiply_adds_per_row_ +=
        uint64_t{linear->in_features} * linear->out_features;
  }
}

std::string LoadedModel::isa() const {
  for (const auto& [layer, scheme] : model_->plan()) {
    if (!model::IsInt8(scheme.scheme)) continue;
    const auto linear = model_->FindLinear(layer);
    if (linear.ok()) return std::string((*linear)->isa());
  }
  return "";
}

uint64_t LoadedModel::MultiplyAdds(std::string_view layer,
                                   size_t values) const {
  const auto found = linears_.find(layer);
  return found == linears_.end() ? 0 : values * found->second->out_features;
}

uint64_t LoadedModel::OutputBytes(size_t rows, size_t sequences,
                                  model::OutputKind output) const {
  const model::Graph& graph = model_->graph();
  const auto value =
      output == model::OutputKind::kHidden ? graph.hidden : graph.output;
  if (!value) return 0;
  const uint64_t out = PoolsSequences(output) ? sequences : rows;
  return out * graph.widths[*value] * sizeof(float);
}

uint64_t LoadedModel::OutputBytes(std::string_view layer, size_t rows) const {
  const auto found = linears_.find(layer);
  return found == linears_.end()
             ? 0
             : uint64_t{rows} * found->second->out_features * sizeof(float);
}

absl::Status LoadedModel::CheckWidth(std::string_view layer,
                                     size_t cols) const {
  const auto found = linears_.find(layer);
  if (found == linears_.end() || cols == found->second->in_features) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("x: has " + std::to_string(cols) +
                                    " columns; layer '" + found->second->layer +
                                    "' takes " +
                                    std::to_string(found->second->in_features));
}

absl::Status LoadedModel::ForwardBatch(
    const model::ModelInputView& input, size_t requests,
    model::RunOptions options,
    absl::Span<const kernels::MatrixView<float>> outputs,
    kernels::PhaseTimes* times) const {
  model::LayerKindTimes by_kind;
  if (options.times == nullptr) options.times = &by_kind;
  const model::OutputKind kind = options.output;
  const absl::Time start = absl::Now();
  RETURN_IF_ERROR(model_->ForwardInto(input, options, outputs));
  ModelStats call;
  call.forward_count = static_cast<int64_t>(requests);
  call.row_count = static_cast<int64_t>(input.rows());
  *times += Count(call, *options.times, absl::Now() - start);
  if (watcher_ != nullptr) watcher_->Answered(*this, input, kind, outputs);
  return absl::OkStatus();
}

absl::StatusOr<model::ModelOutput> LoadedModel::MatMul(
    std::string_view layer, const FetchedRows& x, const MatMulOptions& options,
    MatMulTimes* times) const {
  ASSIGN_OR_RETURN(const model::LinearLayer* const weights,
                   model_->FindLinear(layer));
  const auto found = linears_.find(layer);
  if (found == linears_.end()) {
    return absl::InternalError("layer '" + std::string(layer) +
                               "' has weights but is not in the graph");
  }
  const model::Linear& linear = *found->second;
  RETURN_IF_ERROR(CheckWidth(layer, x.cols));
  auto output = model::ModelOutput::Uninitialized(x.rows, linear.out_features);
  MatMulTimes took;
  RETURN_IF_ERROR(Multiply(*weights, x, options, output.view(), &took));
  ModelStats call;
  call.matmul_count = 1;
  call.row_count = static_cast<int64_t>(x.rows);
  const kernels::PhaseTimes sum =
      Count(call, {{model::LayerKind(layer), took.phases}}, took.compute);
  ExportStages(took.compute, sum);
  if (times != nullptr) *times = took;
  if (watcher_ != nullptr) watcher_->Multiplied(*this, linear, x);
  return output;
}

ModelStats LoadedModel::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

kernels::PhaseTimes LoadedModel::Count(ModelStats call,
                                       const model::LayerKindTimes& by_kind,
                                       absl::Duration compute) const {
  kernels::PhaseTimes sum;
  for (const auto& [kind, phases] : by_kind) sum += phases;
  call.times = sum;
  {
    std::lock_guard lock(mutex_);
    stats_ += call;
  }
  if (metrics_ == nullptr) return sum;
  for (const auto& [kind, phases] : by_kind) {
    if (Any(phases)) metrics_->LinearSeconds(id_, kind, phases);
  }
  metrics_->Batch(id_, static_cast<size_t>(call.row_count),
                  static_cast<size_t>(call.forward_count + call.matmul_count));
  metrics_->VersionComputed(id_, version_, static_cast<size_t>(call.row_count),
                            absl::ToDoubleSeconds(compute));
  return sum;
}

void LoadedModel::ExportStages(absl::Duration compute,
                               const kernels::PhaseTimes& times) const {
  if (metrics_ == nullptr) return;
  metrics_->ComputeStages(id_, absl::ToDoubleSeconds(compute), times);
}

}  // namespace octet::serving
