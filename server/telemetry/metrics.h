// Every metric the server exports, by name, in one place. deploy/README.md has
// the table with types, labels and meanings.
//
// Prometheus conventions: base units, `_seconds`, `_bytes`, `_total`. Labels
// are bounded by what is loaded: method, code, model, layer kind. A series
// whose labels are known exists, at zero, from the start, so that the first
// error is an increase and not a beginning.
//
// All methods may be called from any thread.

#ifndef OCTET_SERVER_TELEMETRY_METRICS_H_
#define OCTET_SERVER_TELEMETRY_METRICS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/phase_clock.h"

namespace prometheus {
class Registry;
}

namespace octet::telemetry {

// Stages of a request around its computation, which ComputeStages measures.
enum class Stage : uint8_t { kDecode, kQueue, kEncode };

// Directions of message bytes.
inline constexpr std::string_view kReceived = "received";
inline constexpr std::string_view kSent = "sent";

// Bytes of a loaded model's weights, as they are stored.
struct WeightBytes {
  uint64_t int8 = 0;  // codes with their scales and zero points
  uint64_t fp16 = 0;
  uint64_t bf16 = 0;
  uint64_t fp32 = 0;
  uint64_t as_fp32 = 0;  // what all of them would take in FP32
  uint64_t linear = 0;   // of the above, those of linear layers; biases are not
  uint64_t linear_as_fp32 = 0;

  bool operator==(const WeightBytes&) const = default;
};

// What is exported of a model as long as it is loaded.
struct ModelDescription {
  WeightBytes bytes;
  uint64_t resident_bytes = 0;
  double load_seconds = 0;
  // Distinct (isa, kernel) of the quantized layers.
  std::vector<std::pair<std::string, std::string>> kernels;
  // Kinds of the quantized layers, and how many of their input features
  // calibration made outliers.
  std::map<std::string, uint64_t> outlier_features_by_kind;

  bool operator==(const ModelDescription&) const = default;
};

// A version that is served.
struct VersionDescription {
  std::string model;
  int64_t version = 0;
  std::string source;
  double traffic_share = 0;
};

// What is watched of a model.
struct WatchDescription {
  bool shadow = false;                   // compared with a float reference
  std::vector<std::string> layer_kinds;  // whose inputs are watched
};

class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  std::shared_ptr<prometheus::Registry> registry() const;

  // octet_rpc_requests_total{method,code}, octet_rpc_duration_seconds{method},
  // octet_rpc_in_flight{method},
  // octet_rpc_message_bytes_total{method,direction}
  //
  // `method` is "InferenceService/Forward"; `code` the canonical name
  // ("OK", "INVALID_ARGUMENT"), anything else counts as UNKNOWN. AddRpcMethod
  // makes the series of a method before its first call.
  void AddRpcMethod(std::string_view method);
  void RpcStarted(std::string_view method);
  void RpcFinished(std::string_view method, std::string_view code,
                   double seconds);
  void RpcMessageBytes(std::string_view method, std::string_view direction,
                       size_t bytes);

  // The calls with a `model` do nothing while that model is not loaded, so
  // that neither an unknown name nor a request that outlives its model leaves
  // series behind.

  // octet_stage_duration_seconds{model,stage}. quantize, dot, dequantize and
  // outlier are the phases of the compute stage; what is left of it is
  // "float", so that the stages sum up to the request. Phases that ran on
  // several threads are CPU time; where they exceed `compute_seconds` they are
  // scaled down to it, in proportion. LoadedModel calls ComputeStages.
  void StageDuration(std::string_view model, Stage stage, double seconds);
  void ComputeStages(std::string_view model, double compute_seconds,
                     const kernels::PhaseTimes& times);

  // octet_linear_seconds_total{model,layer_kind,phase}
  void LinearSeconds(std::string_view model, std::string_view layer_kind,
                     const kernels::PhaseTimes& times);

  // octet_batch_rows{model}, octet_batch_requests{model},
  // octet_rows_total{model}: one computation, and the requests that end with
  // it.
  void Batch(std::string_view model, size_t rows, size_t requests);

  // octet_queue_depth{model}, octet_queue_rows{model}: requests that wait, and
  // their rows. octet_queue_capacity{model}, octet_queue_rows_capacity{model}:
  // how many may, for each model that is loaded later.
  void QueueDepth(std::string_view model, size_t requests, size_t rows);
  void QueueCapacity(size_t requests, size_t rows);

  // octet_workers, octet_worker_busy_seconds_total,
  // octet_work_rejected_total{reason}, octet_work_dropped_total{reason,stage}
  //
  // Reasons to reject: "queue_full", "draining". Reasons to drop:
  // "cancelled", "deadline_exceeded", "shutdown"; stages: "queue", "compute".
  void Workers(size_t count);
  void WorkerBusy(double seconds);
  void WorkRejected(std::string_view reason);
  void WorkDropped(std::string_view reason, std::string_view stage);

  // octet_weights_bytes{model,precision}, octet_compression_ratio{model},
  // octet_linear_compression_ratio{model}, octet_model_resident_bytes{model},
  // octet_model_load_seconds{model}, octet_kernel_info{model,isa,kernel},
  // octet_outlier_features{model,layer_kind}; and octet_models_loaded.
  // Loading over a loaded model keeps its counters.
  void ModelLoaded(std::string_view model, const ModelDescription& description);
  // Removes every series of the model.
  void ModelUnloaded(std::string_view model);
  // Those of version_series.h: exactly these versions are served now, and what
  // one of them did.
  void Versions(const std::vector<VersionDescription>& versions);
  void VersionComputed(std::string_view model, int64_t version, size_t rows,
                       double seconds);
  // Those of watch_series.h.
  void ModelWatched(std::string_view model,
                    const WatchDescription& description);
  void ShadowCompared(std::string_view model, double sqnr_db, double cosine);
  void ShadowDropped(std::string_view model);
  void Drift(std::string_view model, std::string_view layer_kind,
             const std::vector<float>& range_ratios, uint64_t codes,
             uint64_t saturated);
  void CaptureStarted(std::string_view model);
  void Captured(std::string_view model, size_t taken, size_t dropped);
  void WatchCpu(std::string_view work, double seconds);
  // octet_models_failed: versions that should be served but could not be loaded
  // again after a restart.
  void ModelsFailed(size_t count);

  // octet_quantization_jobs{state}, octet_quantization_duration_seconds.
  // States: "queued", "running", "succeeded", "failed", "cancelled".
  void QuantizationJobs(std::string_view state, int64_t count);
  void QuantizationDone(double seconds);

 private:
  class Impl;
  const std::shared_ptr<prometheus::Registry> registry_;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace octet::telemetry

#endif  // OCTET_SERVER_TELEMETRY_METRICS_H_
