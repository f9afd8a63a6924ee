#include "server/telemetry/model_series.h"

#include <mutex>
#include <utility>

#include "server/telemetry/buckets.h"

namespace octet::telemetry {
namespace {

constexpr std::array<const char*, kStages> kStageNames = {
    "decode",     "queue",   "quantize", "dot",
    "dequantize", "outlier", "float",    "encode"};
constexpr std::array<const char*, kPhases> kPhaseNames = {
    "quantize", "dot", "dequantize", "outlier"};

template <typename Builder>
auto& Register(prometheus::Registry& registry, Builder builder,
               const char* name, const char* help) {
  return builder.Name(name).Help(help).Register(registry);
}

// 1 for a model without weights of that sort.
double Ratio(uint64_t as_fp32, uint64_t stored) {
  return stored == 0
             ? 1.0
             : static_cast<double>(as_fp32) / static_cast<double>(stored);
}

}  // namespace

struct ModelSeries::Model {
  std::string id;
  std::array<prometheus::Histogram*, kStages> stages{};
  prometheus::Histogram* batch_rows = nullptr;
  prometheus::Histogram* batch_requests = nullptr;
  prometheus::Gauge* queue_depth = nullptr;
  prometheus::Gauge* queue_rows = nullptr;
  prometheus::Counter* rows = nullptr;
  std::shared_mutex mutex;  // guards phases and undo
  std::map<std::string, Phases, std::less<>> phases;
  // Remove the series: those that stay while the name is served, and those
  // that a new version replaces.
  std::vector<std::function<void()>> undo;
  std::vector<std::function<void()>> undo_description;
};

ModelSeries::ModelSeries(prometheus::Registry& registry)
    : stage_(Register(registry, prometheus::BuildHistogram(),
                      "octet_stage_duration_seconds",
                      "Parts of a request; they sum up to it.")),
      linear_seconds_(Register(registry, prometheus::BuildCounter(),
                               "octet_linear_seconds_total",
                               "CPU time of quantized linears, by phase.")),
      batch_rows_(Register(registry, prometheus::BuildHistogram(),
                           "octet_batch_rows",
                           "Rows (tokens) of one computation.")),
      batch_requests_(Register(registry, prometheus::BuildHistogram(),
                               "octet_batch_requests",
                               "Requests that end with one computation.")),
      rows_(Register(registry, prometheus::BuildCounter(), "octet_rows_total",
                     "Rows (tokens) computed.")),
      queue_depth_(Register(registry, prometheus::BuildGauge(),
                            "octet_queue_depth",
                            "Requests that wait for a worker.")),
      queue_rows_(Register(registry, prometheus::BuildGauge(),
                           "octet_queue_rows",
                           "Rows (tokens) that wait for a worker.")),
      queue_capacity_(Register(registry, prometheus::BuildGauge(),
                               "octet_queue_capacity",
                               "Requests that may wait for a worker.")),
      queue_rows_capacity_(Register(registry, prometheus::BuildGauge(),
                                    "octet_queue_rows_capacity",
                                    "Rows that may wait for a worker.")),
      weights_bytes_(Register(registry, prometheus::BuildGauge(),
                              "octet_weights_bytes",
                              "Stored weights, by precision.")),
      compression_(Register(registry, prometheus::BuildGauge(),
                            "octet_compression_ratio",
                            "FP32 bytes of all weights over stored bytes.")),
      linear_compression_(Register(
          registry, prometheus::BuildGauge(), "octet_linear_compression_ratio",
          "FP32 bytes of linear weights over stored bytes.")),
      resident_bytes_(Register(registry, prometheus::BuildGauge(),
                               "octet_model_resident_bytes",
                               "Weights as packed in memory.")),
      load_seconds_(Register(registry, prometheus::BuildGauge(),
                             "octet_model_load_seconds",
                             "Time to read, check and pack the weights.")),
      kernel_info_(Register(registry, prometheus::BuildGauge(),
                            "octet_kernel_info",
                            "INT8 kernels that the model's layers run; 1.")),
      outlier_features_(
          Register(registry, prometheus::BuildGauge(), "octet_outlier_features",
                   "Input features kept in 16 bits, by kind of layer.")) {}

ModelSeries::~ModelSeries() = default;

template <typename T, typename... Args>
T* ModelSeries::AddTo(prometheus::Family<T>& family,
                      const prometheus::Labels& labels,
                      std::vector<std::function<void()>>& undo,
                      Args&&... args) {
  T* const made = &family.Add(labels, std::forward<Args>(args)...);
  undo.push_back([&family, made] { family.Remove(made); });
  return made;
}

std::unique_ptr<ModelSeries::Model> ModelSeries::MakeModel(
    const std::string& model) {
  auto made = std::make_unique<Model>();
  std::unique_lock lock(made->mutex);
  made->id = model;
  for (size_t i = 0; i < kStages; ++i) {
    made->stages[i] =
        AddTo(stage_, {{"model", model}, {"stage", kStageNames[i]}}, made->undo,
              StageBuckets());
  }
  made->batch_rows =
      AddTo(batch_rows_, {{"model", model}}, made->undo, RowBuckets());
  made->batch_requests =
      AddTo(batch_requests_, {{"model", model}}, made->undo, RequestBuckets());
  made->rows = AddTo(rows_, {{"model", model}}, made->undo);
  const auto gauge = [&](prometheus::Family<prometheus::Gauge>& family) {
    return AddTo(family, {{"model", model}}, made->undo);
  };
  made->queue_depth = gauge(queue_depth_);
  made->queue_rows = gauge(queue_rows_);
  gauge(queue_capacity_)->Set(static_cast<double>(most_requests_));
  gauge(queue_rows_capacity_)->Set(static_cast<double>(most_rows_));
  return made;
}

ModelSeries::Phases ModelSeries::MakePhases(Model& model,
                                            std::string_view layer_kind) {
  std::unique_lock lock(model.mutex);
  const auto [slot, is_new] =
      model.phases.try_emplace(std::string(layer_kind), Phases{});
  if (!is_new) return slot->second;  // another thread was first
  for (size_t i = 0; i < kPhases; ++i) {
    slot->second[i] = AddTo(linear_seconds_,
                            {{"model", model.id},
                             {"layer_kind", std::string(layer_kind)},
                             {"phase", kPhaseNames[i]}},
                            model.undo);
  }
  return slot->second;
}

void ModelSeries::Describe(Model& model, const ModelDescription& description) {
  for (const std::function<void()>& undo : model.undo_description) undo();
  model.undo_description.clear();
  const auto set = [&](prometheus::Family<prometheus::Gauge>& family,
                       prometheus::Labels labels, double value) {
    labels.emplace("model", model.id);
    AddTo(family, labels, model.undo_description)->Set(value);
  };
  const WeightBytes& bytes = description.bytes;
  set(weights_bytes_, {{"precision", "int8"}}, bytes.int8);
  set(weights_bytes_, {{"precision", "fp16"}}, bytes.fp16);
  set(weights_bytes_, {{"precision", "bf16"}}, bytes.bf16);
  set(weights_bytes_, {{"precision", "fp32"}}, bytes.fp32);
  set(compression_, {},
      Ratio(bytes.as_fp32, bytes.int8 + bytes.fp16 + bytes.bf16 + bytes.fp32));
  set(linear_compression_, {}, Ratio(bytes.linear_as_fp32, bytes.linear));
  set(resident_bytes_, {}, description.resident_bytes);
  set(load_seconds_, {}, description.load_seconds);
  for (const auto& [isa, kernel] : description.kernels) {
    set(kernel_info_, {{"isa", isa}, {"kernel", kernel}}, 1);
  }
  for (const auto& [kind, count] : description.outlier_features_by_kind) {
    set(outlier_features_, {{"layer_kind", kind}}, count);
    MakePhases(model, kind);
  }
}

void ModelSeries::Load(std::string_view model,
                       const ModelDescription& description) {
  const std::string id(model);
  std::unique_lock lock(mutex_);
  std::unique_ptr<Model>& slot = models_[id];
  if (slot == nullptr) slot = MakeModel(id);
  Describe(*slot, description);
}

void ModelSeries::Unload(std::string_view model) {
  std::unique_lock lock(mutex_);
  const auto found = models_.find(model);
  if (found == models_.end()) return;
  Model& series = *found->second;
  for (const std::function<void()>& undo : series.undo_description) undo();
  {
    std::unique_lock series_lock(series.mutex);
    for (const std::function<void()>& undo : series.undo) undo();
  }
  models_.erase(found);
}

size_t ModelSeries::loaded() const {
  std::shared_lock lock(mutex_);
  return models_.size();
}

void ModelSeries::ObserveStage(std::string_view model, StageLabel stage,
                               double seconds) {
  std::shared_lock lock(mutex_);
  const auto found = models_.find(model);
  if (found == models_.end()) return;
  found->second->stages[static_cast<size_t>(stage)]->Observe(seconds);
}

void ModelSeries::AddLinearSeconds(std::string_view model,
                                   std::string_view layer_kind,
                                   const std::array<double, kPhases>& seconds) {
  std::shared_lock lock(mutex_);
  const auto found = models_.find(model);
  if (found == models_.end()) return;
  Model& series = *found->second;
  Phases phases{};
  {
    std::shared_lock series_lock(series.mutex);
    const auto known = series.phases.find(layer_kind);
    if (known != series.phases.end()) phases = known->second;
  }
  if (phases[0] == nullptr) phases = MakePhases(series, layer_kind);
  for (size_t i = 0; i < kPhases; ++i) phases[i]->Increment(seconds[i]);
}

void ModelSeries::ObserveBatch(std::string_view model, size_t rows,
                               size_t requests) {
  std::shared_lock lock(mutex_);
  const auto found = models_.find(model);
  if (found == models_.end()) return;
  found->second->batch_rows->Observe(static_cast<double>(rows));
  found->second->batch_requests->Observe(static_cast<double>(requests));
  found->second->rows->Increment(static_cast<double>(rows));
}

void ModelSeries::SetQueue(std::string_view model, size_t requests,
                           size_t rows) {
  std::shared_lock lock(mutex_);
  const auto found = models_.find(model);
  if (found == models_.end()) return;
  found->second->queue_depth->Set(static_cast<double>(requests));
  found->second->queue_rows->Set(static_cast<double>(rows));
}

void ModelSeries::SetQueueCapacity(size_t requests, size_t rows) {
  std::unique_lock lock(mutex_);
  most_requests_ = requests;
  most_rows_ = rows;
}

}  // namespace octet::telemetry
