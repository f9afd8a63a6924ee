// Every metric the server exports, by name, in one place.
//
// Prometheus conventions: base units, `_seconds`, `_bytes`, `_total`. Labels
// are bounded by what is loaded: method, code, model, layer kind.

#ifndef OCTET_SERVER_TELEMETRY_METRICS_H_
#define OCTET_SERVER_TELEMETRY_METRICS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "kernels/phase_clock.h"

namespace prometheus {
class Registry;
}

namespace octet::telemetry {

enum class Stage : uint8_t { kDecode, kQueue, kCompute, kEncode };

// Bytes of a loaded model's weights.
struct WeightBytes {
  uint64_t int8 = 0;
  uint64_t fp16 = 0;
  uint64_t bf16 = 0;
  uint64_t fp32 = 0;
  uint64_t as_fp32 = 0;  // what all of them would take in FP32
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
  void RpcStarted(std::string_view method);
  void RpcFinished(std::string_view method, std::string_view code,
                   double seconds);
  void RpcMessageBytes(std::string_view method, std::string_view direction,
                       size_t bytes);

  // octet_stage_duration_seconds{model,stage}. quantize, dot and dequantize
  // are the INT8 phases of the compute stage; what is left of it is "float",
  // so that the stages sum up to the request.
  void StageDuration(std::string_view model, Stage stage, double seconds);
  void ComputeStages(std::string_view model, double compute_seconds,
                     const kernels::PhaseTimes& times);

  // octet_linear_seconds_total{model,layer_kind,phase}
  void LinearSeconds(std::string_view model, std::string_view layer_kind,
                     const kernels::PhaseTimes& times);

  // octet_batch_rows{model}, octet_rows_total{model}
  void Rows(std::string_view model, size_t rows);

  // octet_queue_depth, octet_queue_capacity, octet_worker_busy_seconds_total,
  // octet_work_rejected_total{reason}, octet_work_dropped_total{reason,stage}
  void QueueDepth(size_t depth);
  void QueueCapacity(size_t capacity);
  void WorkerBusy(double seconds);
  void WorkRejected(std::string_view reason);
  void WorkDropped(std::string_view reason, std::string_view stage);

  // octet_weights_bytes{model,precision}, octet_compression_ratio{model},
  // octet_model_load_seconds{model}, octet_models_loaded; and
  // octet_kernel_info{model,isa,kernel}
  void ModelLoaded(std::string_view model, const WeightBytes& bytes,
                   double load_seconds, std::string_view isa,
                   std::string_view kernel);
  // Removes every series of the model.
  void ModelUnloaded(std::string_view model);

  // octet_quantization_jobs{state}, octet_quantization_duration_seconds
  void QuantizationJobs(std::string_view state, int64_t count);
  void QuantizationDone(double seconds);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace octet::telemetry

#endif  // OCTET_SERVER_TELEMETRY_METRICS_H_
