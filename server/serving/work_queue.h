// Work that waits for a thread, bounded, so that overload is answered at once
// and gRPC's own threads never touch a disk. What is computed goes through the
// Scheduler (scheduler.h).

#ifndef OCTET_SERVER_SERVING_WORK_QUEUE_H_
#define OCTET_SERVER_SERVING_WORK_QUEUE_H_

#include <cstddef>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace octet::serving {

struct Work {
  // Called on a worker. `queued` is how long it waited.
  std::function<void(absl::Duration queued)> run;
  // Called instead of `run` when the work is dropped before it starts:
  // CANCELLED or DEADLINE_EXCEEDED on a worker, UNAVAILABLE in Drain.
  std::function<void(absl::Status)> drop;
  // Asked right before `run`; may be empty.
  std::function<bool()> cancelled;
  absl::Time deadline = absl::InfiniteFuture();
};

class WorkQueue {
 public:
  // At most `capacity` requests wait, besides the `workers` that run; both are
  // at least 1. Throws std::system_error where the system starts no more
  // threads.
  WorkQueue(size_t workers, size_t capacity);
  ~WorkQueue();  // drains: what was admitted is finished

  // RESOURCE_EXHAUSTED, at once, when the queue is full; neither `run` nor
  // `drop` is called then. UNAVAILABLE after Drain.
  absl::Status Submit(Work work);

  // Admits no more and waits until what was admitted is done. What has not
  // started by `deadline` is dropped; what has started is always waited for.
  void Drain(absl::Time deadline);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_WORK_QUEUE_H_
