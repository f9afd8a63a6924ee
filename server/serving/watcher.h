// A second look at live requests, off their path.
//
//   shadow  A share of a model's requests is computed again by its float
//           reference, and the answers are compared:
//             SQNR   = 10 log10(sum reference^2 / sum (answer - reference)^2)
//             cosine = sum answer reference / (|answer| |reference|)
//   drift   Now and then the inputs of a request's INT8 layers are compared
//           with what calibration saw (drift.h); those of a product with one
//           layer (MatMul) likewise.
//
// A request pays for a copy of its input at most. The rest happens on one
// thread of the lowest priority. What finds its queue full is dropped and
// counted. Drift is watched one two-hundredth of the time (kDriftShare), so
// that its cost has a bound whatever the traffic is; what it was in fact is
// octet_watch_cpu_seconds_total.

#ifndef OCTET_SERVER_SERVING_WATCHER_H_
#define OCTET_SERVER_SERVING_WATCHER_H_

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "kernels/matrix_view.h"
#include "server/model/graph.h"
#include "server/model/model.h"
#include "server/serving/background.h"
#include "server/serving/capture_queue.h"
#include "server/serving/drift.h"
#include "server/serving/fetched_rows.h"
#include "server/serving/live_input.h"
#include "server/telemetry/metrics.h"

namespace octet::serving {

class LoadedModel;

// What is watched of one version.
struct Watch {
  double shadow_rate = 0;  // share of requests, in [0, 1]
  std::shared_ptr<const model::Model> reference;  // with a shadow_rate
  LimitsByLayer limits;
};

class Watcher {
 public:
  static constexpr size_t kMaxWaiting = 16;
  static constexpr size_t kMaxWaitingBytes = size_t{64} << 20;
  static constexpr double kDriftShare = 1.0 / 200;

  // `metrics` may be nullptr and must outlive the watcher.
  explicit Watcher(telemetry::Metrics* metrics);
  ~Watcher();  // forgets what waits

  // After every answer: takes what it needs, seldom, and returns at once. The
  // output's rows are those of one matrix after the other.
  void Answered(const LoadedModel& model, const model::ModelInputView& input,
                model::OutputKind kind,
                absl::Span<const kernels::MatrixView<float>> outputs);
  // Likewise, after every product of rows with one layer.
  void Multiplied(const LoadedModel& model, const model::Linear& linear,
                  const FetchedRows& x);

  // What else is wanted of the same requests.
  CaptureQueue& captures() { return captures_; }

  // Waits until everything taken so far was looked at. For tests.
  void AwaitIdle();

 private:
  struct Sample {
    std::weak_ptr<const LoadedModel> model;  // an unload does not wait for us
    LiveInput input;
    model::OutputKind kind = model::OutputKind::kOutput;
    model::ModelOutput output;
    bool shadow = false;
    bool drift = false;
    size_t bytes = 0;
  };

  bool DriftIsDue();
  bool DrawShadow(const Watch& watch);
  // `copy` fills in what the sample keeps; not called when that is too much.
  // Where it fails, the sample is dropped.
  void Take(Sample sample, const LoadedModel& model,
            absl::FunctionRef<absl::Status(Sample*)> copy);
  // False: there is no room for it, and it is as it was but for `copy`.
  bool Keep(Sample& sample, absl::FunctionRef<absl::Status(Sample*)> copy);
  void Run();
  void Look(const Sample& sample, CpuMeter& cpu);
  void LookForDrift(const LoadedModel& model, const Sample& sample);
  void ScheduleDrift(absl::Time start);  // after a look that started then
  void CompareWithReference(const LoadedModel& model, const Sample& sample);

  telemetry::Metrics* const metrics_;
  CaptureQueue captures_;
  std::atomic<int64_t> drift_due_ = 0;  // Unix nanoseconds
  std::atomic<uint64_t> draws_ = 0;
  std::mutex mutex_;  // guards what follows, but for the thread
  std::condition_variable wake_;
  std::condition_variable idle_;
  std::deque<Sample> waiting_;
  size_t waiting_bytes_ = 0;
  bool looking_ = false;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_WATCHER_H_
