// Live traffic into calibrations.
//
// A capture takes a share of what a served model is asked and adds it to one
// calibration, as if it had been uploaded: every computation that is drawn is a
// batch. It ends by itself (max_samples, max_duration, the model is unloaded,
// or swapped for one of another shape, an error) or when asked, saves what it
// took, and stays to be looked at until the calibration is deleted or the
// server stops. While it runs it holds the calibration's lease, and the
// checkpoint cannot be deleted.

#ifndef OCTET_SERVER_RPC_RESOURCES_CAPTURES_H_
#define OCTET_SERVER_RPC_RESOURCES_CAPTURES_H_

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/rpc/resources/backend.h"
#include "server/serving/capture_queue.h"

namespace octet::rpc {

struct CaptureRequest {
  std::string calibration;  // id
  std::string model;        // id
  double rate = 0;          // share of computations, in (0, 1]
  size_t max_samples = 512;
  absl::Duration max_duration = absl::Hours(1);
};

struct CaptureStatus {
  CaptureRequest request;
  size_t taken = 0;    // samples
  size_t dropped = 0;  // samples: the queue was full, or they held NaN
  bool running = true;
  std::string reason;  // why it does not run, a sentence
  absl::Time start;
  absl::Time end;  // when it ended; while it runs, when it will at the latest
};

class Captures {
 public:
  static constexpr size_t kMostSamples = 65536;
  static constexpr absl::Duration kLongest = absl::Hours(7 * 24);

  // Both must outlive it. Unless `allowed`, Start refuses.
  Captures(Backend* backend, serving::CaptureQueue* queue, bool allowed);
  ~Captures();  // ends and saves what runs

  // FAILED_PRECONDITION: the server does not allow it, the model's inputs do
  // not fit the calibration's checkpoint, or it is captured already.
  // INVALID_ARGUMENT, NOT_FOUND (model, calibration), ABORTED (another call
  // writes the calibration).
  absl::Status Start(const CaptureRequest& request);
  // Returns when nothing more is taken and all is saved. FAILED_PRECONDITION
  // when there was none.
  absl::Status Stop(std::string_view calibration);

  // The last one into that calibration.
  std::optional<CaptureStatus> Find(std::string_view calibration) const;
  // The calibration of a running one that needs that checkpoint.
  std::optional<std::string> UserOf(std::string_view checkpoint) const;
  // The calibration was deleted.
  void Forget(std::string_view calibration);

 private:
  class Running;  // or over

  absl::Status AlreadyCaptured(std::string_view model) const;

  Backend& backend_;
  serving::CaptureQueue& queue_;
  const bool allowed_;
  mutable absl::Mutex mutex_;  // the queue is not called with it held
  std::map<std::string, std::shared_ptr<Running>, std::less<>> by_calibration_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_RESOURCES_CAPTURES_H_
