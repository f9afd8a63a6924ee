// The series of the models that are loaded.
//
// A model's series are freed when it is unloaded, while requests that were
// admitted before may still report: they look their model up, under a shared
// lock, each time, and find nothing.

#ifndef OCTET_SERVER_TELEMETRY_MODEL_SERIES_H_
#define OCTET_SERVER_TELEMETRY_MODEL_SERIES_H_

#include <array>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"
#include "server/telemetry/metrics.h"

namespace octet::telemetry {

inline constexpr size_t kPhases = 4;  // quantize, dot, dequantize, outlier

// Values of the label `stage`, in the order of a request.
enum class StageLabel : uint8_t {
  kDecode,
  kQueue,
  kQuantize,
  kDot,
  kDequantize,
  kOutlier,
  kFloat,
  kEncode,
};
inline constexpr size_t kStages = 8;

class ModelSeries {
 public:
  explicit ModelSeries(prometheus::Registry& registry);
  ~ModelSeries();

  void Load(std::string_view model, const ModelDescription& description);
  void Unload(std::string_view model);
  size_t loaded() const;

  void ObserveStage(std::string_view model, StageLabel stage, double seconds);
  void AddLinearSeconds(std::string_view model, std::string_view layer_kind,
                        const std::array<double, kPhases>& seconds);
  void ObserveBatch(std::string_view model, size_t rows, size_t requests);
  void SetQueue(std::string_view model, size_t requests, size_t rows);
  // Of models that are loaded later.
  void SetQueueCapacity(size_t requests, size_t rows);

 private:
  using Phases = std::array<prometheus::Counter*, kPhases>;
  struct Model;

  // All need `mutex_`: Describe alone, the others at least shared.
  std::unique_ptr<Model> MakeModel(const std::string& model);
  Phases MakePhases(Model& model, std::string_view layer_kind);
  void Describe(Model& model, const ModelDescription& description);

  template <typename T, typename... Args>
  static T* AddTo(prometheus::Family<T>& family,
                  const prometheus::Labels& labels,
                  std::vector<std::function<void()>>& undo, Args&&... args);

  prometheus::Family<prometheus::Histogram>& stage_;
  prometheus::Family<prometheus::Counter>& linear_seconds_;
  prometheus::Family<prometheus::Histogram>& batch_rows_;
  prometheus::Family<prometheus::Histogram>& batch_requests_;
  prometheus::Family<prometheus::Counter>& rows_;
  prometheus::Family<prometheus::Gauge>& queue_depth_;
  prometheus::Family<prometheus::Gauge>& queue_rows_;
  prometheus::Family<prometheus::Gauge>& queue_capacity_;
  prometheus::Family<prometheus::Gauge>& queue_rows_capacity_;
  prometheus::Family<prometheus::Gauge>& weights_bytes_;
  prometheus::Family<prometheus::Gauge>& compression_;
  prometheus::Family<prometheus::Gauge>& linear_compression_;
  prometheus::Family<prometheus::Gauge>& resident_bytes_;
  prometheus::Family<prometheus::Gauge>& load_seconds_;
  prometheus::Family<prometheus::Gauge>& kernel_info_;
  prometheus::Family<prometheus::Gauge>& outlier_features_;

  mutable std::shared_mutex mutex_;  // guards what follows
  size_t most_requests_ = 0;
  size_t most_rows_ = 0;
  std::map<std::string, std::unique_ptr<Model>, std::less<>> models_;
};

}  // namespace octet::telemetry

#endif  // OCTET_SERVER_TELEMETRY_MODEL_SERIES_H_
