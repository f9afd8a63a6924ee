// Shares of live traffic, on their way to whoever keeps them.
//
//   request -> drawn at the capture's rate, copied -> queue -> sink
//
// A capture belongs to a name of a model and outlives the versions served under
// it. A request that is not drawn pays for one load of an atomic, and for a
// look into a map while some capture runs. Sinks are called on one thread of
// the lowest priority. What finds the queue full is dropped and counted.

#ifndef OCTET_SERVER_SERVING_CAPTURE_QUEUE_H_
#define OCTET_SERVER_SERVING_CAPTURE_QUEUE_H_

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "kernels/matrix_view.h"
#include "server/model/graph.h"
#include "server/model/model.h"
#include "server/serving/live_input.h"
#include "server/telemetry/metrics.h"

namespace octet::serving {

class LoadedModel;

// Why a capture is over.
enum class CaptureEnd : uint8_t {
  kFull,        // the sink wants no more
  kTime,        // its time is up
  kStopped,     // somebody asked for it
  kUnloaded,    // the model is not served any more
  kOtherModel,  // a version took a request whose layers are others
};

// Keeps what is captured. Must not call the queue.
class CaptureSink {
 public:
  virtual ~CaptureSink() = default;
  // False: no more. Take and Ended come one at a time, Ended once and last.
  virtual bool Take(LiveInput input) = 0;
  virtual void Ended(CaptureEnd why) = 0;
  // That many samples were drawn and found the queue full. From any thread,
  // and not after Ended has returned.
  virtual void Dropped(size_t samples) = 0;
};

struct Capture {
  std::string model;  // the name that it is served under
  double rate = 1;    // share of computations, in (0, 1]
  absl::Time end = absl::InfiniteFuture();
  // LoadedModel::input_shape of the versions whose inputs are wanted.
  size_t input_shape = 0;
  std::shared_ptr<CaptureSink> sink;
};

class CaptureQueue {
 public:
  static constexpr size_t kMaxWaitingBytes = size_t{64} << 20;

  // `metrics` may be nullptr and must outlive the queue.
  explicit CaptureQueue(telemetry::Metrics* metrics);
  ~CaptureQueue();  // forgets what runs: sinks are not told

  // False while another capture of that model runs.
  bool Start(Capture capture);
  // Ends that sink's capture, unless it is over. When this returns, the sink is
  // not called and will not be.
  void Stop(const CaptureSink& sink);
  // The model is not served any more. Does not wait.
  void Unloaded(std::string_view model);

  // After every answer: takes what is drawn, and returns at once.
  void Offer(const LoadedModel& model, const model::ModelInputView& input) {
    if (running_count_.load(std::memory_order_relaxed) != 0) {
      OfferDrawn(model, SizeOf(input), [&] { return LiveInput::Of(input); });
    }
  }
  void Offer(const LoadedModel& model, const model::Linear& linear,
             const FetchedRows& x) {
    if (running_count_.load(std::memory_order_relaxed) != 0) {
      OfferDrawn(model, SizeOf(x), [&] { return LiveInput::Of(linear, x); });
    }
  }

  // Waits until everything drawn so far was taken. For tests.
  void AwaitIdle();

 private:
  struct Running {
    Capture capture;
    uint64_t draws = 0;
    std::optional<CaptureEnd> end = std::nullopt;  // told, or to be
  };
  struct Waiting {
    std::shared_ptr<CaptureSink> sink;
    LiveInput input;
    size_t bytes;
  };
  using ByModel = std::map<std::string, Running, std::less<>>;

  void OfferDrawn(const LoadedModel& model, InputSize size,
                  absl::FunctionRef<absl::StatusOr<LiveInput>()> copy);
  // The sink that is to have this one, with room kept for it; or nullptr.
  std::shared_ptr<CaptureSink> Draw(const LoadedModel& model, InputSize size);
  ByModel::iterator Find(const CaptureSink& sink);  // needs mutex_
  ByModel::iterator NextToEnd();                    // needs mutex_
  absl::Time NextEnd() const;                       // needs mutex_
  void End(CaptureEnd why, Running& running);       // needs mutex_
  void Forget(const CaptureSink& sink);             // needs mutex_
  void Run();
  // Both are called with `lock` held, and let go of it while a sink works.
  void TellEnd(ByModel::iterator ending, std::unique_lock<std::mutex>& lock);
  void TakeOne(std::unique_lock<std::mutex>& lock);

  telemetry::Metrics* const metrics_;
  std::atomic<size_t> running_count_ = 0;  // of running_
  std::mutex mutex_;  // guards what follows, but for the thread
  std::condition_variable wake_;
  std::condition_variable changed_;  // one is over, or nothing waits
  ByModel running_;
  std::deque<Waiting> waiting_;
  size_t waiting_bytes_ = 0;  // with what is being copied
  bool taking_ = false;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_CAPTURE_QUEUE_H_
