#include "server/serving/loaded_model.h"

#include <cmath>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/types/span.h"
#include "kernels/finite.h"
#include "kernels/status_macros.h"
#include "server/model/linear_layer.h"

namespace octet::serving {
namespace {

// Linears that are not quantized have no phases.
bool Any(const kernels::PhaseTimes& times) {
  return times.quantize_ns + times.dot_ns + times.dequantize_ns +
             times.outlier_ns >
         0;
}

absl::Status CheckMatMulInput(const model::Linear& linear,
                              kernels::MatrixView<const float> x,
                              bool allow_non_finite) {
  if (x.cols != linear.in_features) {
    return absl::InvalidArgumentError(
        "x: has " + std::to_string(x.cols) + " columns; layer '" +
        linear.layer + "' takes " + std::to_string(linear.in_features));
  }
  for (size_t row = 0; row < x.rows && !allow_non_finite; ++row) {
    const std::optional<size_t> column =
        kernels::FirstNonFinite(absl::MakeConstSpan(x.row(row), x.cols));
    if (column.has_value()) {
      return absl::InvalidArgumentError(
          "x[" + std::to_string(row) + "][" + std::to_string(*column) +
          "]: is " + (std::isnan(x.row(row)[*column]) ? "NaN" : "infinite") +
          "; it must be finite");
    }
  }
  return absl::OkStatus();
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
  for (const model::Linear* linear : model_->graph().Linears()) {
    linears_.emplace(linear->layer, linear);
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

absl::StatusOr<model::ModelOutput> LoadedModel::Forward(
    const model::ModelInput& input, model::RunOptions options,
    kernels::PhaseTimes* times) const {
  model::LayerKindTimes by_kind;
  if (options.times == nullptr) options.times = &by_kind;
  const model::OutputKind kind = options.output;
  const absl::Time start = absl::Now();
  ASSIGN_OR_RETURN(model::ModelOutput output, model_->Forward(input, options));
  ModelStats call;
  call.forward_count = 1;
  call.row_count = static_cast<int64_t>(input.rows());
  Count(call, *options.times, absl::Now() - start, times);
  if (watcher_ != nullptr) watcher_->Answered(*this, input, kind, output);
  return output;
}

absl::StatusOr<model::ModelOutput> LoadedModel::MatMul(
    std::string_view layer, kernels::MatrixView<const float> x,
    const MatMulOptions& options, kernels::PhaseTimes* times) const {
  ASSIGN_OR_RETURN(const model::LinearLayer* const weights,
                   model_->FindLinear(layer));
  const auto linear = linears_.find(layer);
  if (linear == linears_.end()) {
    return absl::InternalError("layer '" + std::string(layer) +
                               "' has weights but is not in the graph");
  }
  RETURN_IF_ERROR(
      CheckMatMulInput(*linear->second, x, options.allow_non_finite));
  const absl::Time start = absl::Now();
  model::ModelOutput output;
  output.rows = x.rows;
  output.cols = linear->second->out_features;
  output.values.resize(output.rows * output.cols);
  kernels::PhaseTimes phases;
  kernels::LinearCall how;
  how.pool = options.pool;
  how.times = &phases;
  RETURN_IF_ERROR(
      weights->Run(x, {output.values.data(), output.rows, output.cols}, how));
  ModelStats call;
  call.matmul_count = 1;
  call.row_count = static_cast<int64_t>(x.rows);
  Count(call, {{model::LayerKind(layer), phases}}, absl::Now() - start, times);
  return output;
}

ModelStats LoadedModel::stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

void LoadedModel::Count(ModelStats call, const model::LayerKindTimes& by_kind,
                        absl::Duration compute,
                        kernels::PhaseTimes* times) const {
  kernels::PhaseTimes sum;
  for (const auto& [kind, phases] : by_kind) sum += phases;
  call.times = sum;
  if (times != nullptr) *times += sum;
  {
    std::lock_guard lock(mutex_);
    stats_ += call;
  }
  if (metrics_ == nullptr) return;
  for (const auto& [kind, phases] : by_kind) {
    if (Any(phases)) metrics_->LinearSeconds(id_, kind, phases);
  }
  metrics_->ComputeStages(id_, absl::ToDoubleSeconds(compute), sum);
  metrics_->Rows(id_, static_cast<size_t>(call.row_count));
  metrics_->VersionComputed(id_, version_, static_cast<size_t>(call.row_count),
                            absl::ToDoubleSeconds(compute));
}

}  // namespace octet::serving
