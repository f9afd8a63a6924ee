#include "server/telemetry/metrics.h"

#include <algorithm>
#include <array>

#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"
#include "server/telemetry/buckets.h"
#include "server/telemetry/build_info.h"
#include "server/telemetry/model_series.h"
#include "server/telemetry/rpc_series.h"
#include "server/telemetry/version_series.h"
#include "server/telemetry/watch_series.h"

namespace octet::telemetry {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using prometheus::Registry;

Family<Counter>& CounterFamily(Registry& registry, const char* name,
                               const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

Family<Gauge>& GaugeFamily(Registry& registry, const char* name,
                           const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}

std::array<double, kPhases> Seconds(const kernels::PhaseTimes& times) {
  return {times.quantize_ns * 1e-9, times.dot_ns * 1e-9,
          times.dequantize_ns * 1e-9, times.outlier_ns * 1e-9};
}

constexpr StageLabel Label(Stage stage) {
  switch (stage) {
    case Stage::kDecode:
      return StageLabel::kDecode;
    case Stage::kQueue:
      return StageLabel::kQueue;
    case Stage::kEncode:
      break;
  }
  return StageLabel::kEncode;
}

}  // namespace

class Metrics::Impl {
 public:
  explicit Impl(Registry& r)
      : rpc(r),
        models(r),
        versions(r),
        watches(r),
        models_loaded(
            GaugeFamily(r, "octet_models_loaded", "Models that are served.")
                .Add({})),
        models_failed(GaugeFamily(r, "octet_models_failed",
                                  "Models that a restart could not load again.")
                          .Add({})),
        workers(GaugeFamily(r, "octet_workers", "Threads that run requests.")
                    .Add({})),
        worker_busy(CounterFamily(r, "octet_worker_busy_seconds_total",
                                  "Time that workers ran requests.")
                        .Add({})),
        rejected(CounterFamily(r, "octet_work_rejected_total",
                               "Requests that were not admitted.")),
        dropped(CounterFamily(r, "octet_work_dropped_total",
                              "Requests admitted, then not finished.")),
        jobs(GaugeFamily(r, "octet_quantization_jobs",
                         "Quantizations the server remembers, by state.")),
        job_duration(prometheus::BuildHistogram()
                         .Name("octet_quantization_duration_seconds")
                         .Help("Quantizations that succeeded.")
                         .Register(r)
                         .Add({}, JobBuckets())) {
    for (const char* reason : {"queue_full", "draining"}) {
      rejected.Add({{"reason", reason}});
    }
    for (const char* reason : {"cancelled", "deadline_exceeded", "shutdown"}) {
      for (const char* stage : {"queue", "compute"}) {
        dropped.Add({{"reason", reason}, {"stage", stage}});
      }
    }
    for (const char* state :
         {"queued", "running", "succeeded", "failed", "cancelled"}) {
      jobs.Add({{"state", state}});
    }
    const BuildInfo& build = GetBuildInfo();
    GaugeFamily(r, "octet_build_info", "What this server was built from; 1.")
        .Add({{"version", std::string(build.version)},
              {"revision", std::string(build.revision)},
              {"compiler", std::string(build.compiler)}})
        .Set(1);
  }

  RpcSeries rpc;
  ModelSeries models;
  VersionSeries versions;
  WatchSeries watches;
  Gauge& models_loaded;
  Gauge& models_failed;
  Gauge& workers;
  Counter& worker_busy;
  // Rare events: the families' own lookup is good enough.
  Family<Counter>& rejected;
  Family<Counter>& dropped;
  Family<Gauge>& jobs;
  Histogram& job_duration;
};

Metrics::Metrics()
    : registry_(std::make_shared<Registry>()),
      impl_(std::make_unique<Impl>(*registry_)) {}

Metrics::~Metrics() = default;

std::shared_ptr<Registry> Metrics::registry() const { return registry_; }

void Metrics::AddRpcMethod(std::string_view method) { impl_->rpc.Find(method); }

void Metrics::RpcStarted(std::string_view method) {
  impl_->rpc.Find(method).in_flight->Increment();
}

void Metrics::RpcFinished(std::string_view method, std::string_view code,
                          double seconds) {
  const RpcSeries::Method& series = impl_->rpc.Find(method);
  series.in_flight->Decrement();
  series.duration->Observe(seconds);
  series.Requests(code).Increment();
}

void Metrics::RpcMessageBytes(std::string_view method,
                              std::string_view direction, size_t bytes) {
  const RpcSeries::Method& series = impl_->rpc.Find(method);
  Counter& counter = direction == kSent ? *series.sent : *series.received;
  counter.Increment(static_cast<double>(bytes));
}

void Metrics::StageDuration(std::string_view model, Stage stage,
                            double seconds) {
  impl_->models.ObserveStage(model, Label(stage), seconds);
}

void Metrics::ComputeStages(std::string_view model, double compute_seconds,
                            const kernels::PhaseTimes& times) {
  std::array<double, kPhases> phases = Seconds(times);
  double sum = 0;
  for (const double seconds : phases) sum += seconds;
  if (sum > compute_seconds) {
    for (double& seconds : phases) seconds *= compute_seconds / sum;
    sum = compute_seconds;
  }
  constexpr std::array<StageLabel, kPhases> kLabels = {
      StageLabel::kQuantize, StageLabel::kDot, StageLabel::kDequantize,
      StageLabel::kOutlier};
  for (size_t i = 0; i < kPhases; ++i) {
    impl_->models.ObserveStage(model, kLabels[i], phases[i]);
  }
  impl_->models.ObserveStage(model, StageLabel::kFloat, compute_seconds - sum);
}

void Metrics::LinearSeconds(std::string_view model, std::string_view layer_kind,
                            const kernels::PhaseTimes& times) {
  impl_->models.AddLinearSeconds(model, layer_kind, Seconds(times));
}

void Metrics::Batch(std::string_view model, size_t rows, size_t requests) {
  impl_->models.ObserveBatch(model, rows, requests);
}

void Metrics::QueueDepth(std::string_view model, size_t requests, size_t rows) {
  impl_->models.SetQueue(model, requests, rows);
}

void Metrics::QueueCapacity(size_t requests, size_t rows) {
  impl_->models.SetQueueCapacity(requests, rows);
}

void Metrics::Workers(size_t count) {
  impl_->workers.Set(static_cast<double>(count));
}

void Metrics::WorkerBusy(double seconds) {
  impl_->worker_busy.Increment(seconds);
}

void Metrics::WorkRejected(std::string_view reason) {
  impl_->rejected.Add({{"reason", std::string(reason)}}).Increment();
}

void Metrics::WorkDropped(std::string_view reason, std::string_view stage) {
  impl_->dropped
      .Add({{"reason", std::string(reason)}, {"stage", std::string(stage)}})
      .Increment();
}

void Metrics::ModelLoaded(std::string_view model,
                          const ModelDescription& description) {
  impl_->models.Load(model, description);
  impl_->models_loaded.Set(static_cast<double>(impl_->models.loaded()));
}

void Metrics::ModelUnloaded(std::string_view model) {
  impl_->models.Unload(model);
  impl_->watches.Remove(model);
  impl_->models_loaded.Set(static_cast<double>(impl_->models.loaded()));
}

void Metrics::Versions(const std::vector<VersionDescription>& versions) {
  impl_->versions.Set(versions);
}

void Metrics::VersionComputed(std::string_view model, int64_t version,
                              size_t rows, double seconds) {
  impl_->versions.Computed(model, version, rows, seconds);
}

void Metrics::ModelWatched(std::string_view model,
                           const WatchDescription& description) {
  impl_->watches.Add(model, description);
}

void Metrics::ShadowCompared(std::string_view model, double sqnr_db,
                             double cosine) {
  impl_->watches.Compared(model, sqnr_db, cosine);
}

void Metrics::ShadowDropped(std::string_view model) {
  impl_->watches.Dropped(model);
}

void Metrics::Drift(std::string_view model, std::string_view layer_kind,
                    const std::vector<float>& range_ratios, uint64_t codes,
                    uint64_t saturated) {
  impl_->watches.Drift(model, layer_kind, range_ratios, codes, saturated);
}

void Metrics::CaptureStarted(std::string_view model) {
  impl_->watches.Capture(model);
}

void Metrics::Captured(std::string_view model, size_t taken, size_t dropped) {
  impl_->watches.Captured(model, taken, dropped);
}

void Metrics::WatchCpu(std::string_view work, double seconds) {
  impl_->watches.Cpu(work, seconds);
}

void Metrics::ModelsFailed(size_t count) {
  impl_->models_failed.Set(static_cast<double>(count));
}

void Metrics::QuantizationJobs(std::string_view state, int64_t count) {
  impl_->jobs.Add({{"state", std::string(state)}})
      .Set(static_cast<double>(count));
}

void Metrics::QuantizationDone(double seconds) {
  impl_->job_duration.Observe(seconds);
}

}  // namespace octet::telemetry
