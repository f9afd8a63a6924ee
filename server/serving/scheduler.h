// What is computed next, and together with what.
//
// The unit of work is a step: some rows (tokens, feature rows) through one
// model. An encoder's request is one step; a decoder submits one for its prompt
// and one for each token. Steps for the same model may run as one batch: rows
// are independent, so no result depends on its neighbours.

#ifndef OCTET_SERVER_SERVING_SCHEDULER_H_
#define OCTET_SERVER_SERVING_SCHEDULER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "kernels/phase_clock.h"
#include "kernels/thread_pool.h"
#include "server/model/model.h"
#include "server/serving/loaded_model.h"
#include "server/serving/work_queue.h"

namespace octet::serving {

// Among the work of one model. A lower one waits longer, never for ever.
enum class Priority : uint8_t { kHigh, kNormal, kLow };

// What came of a step, and where the time went.
struct StepResult {
  model::ModelOutput output;
  kernels::PhaseTimes times;  // CPU time; in a batch, the share of its rows
  absl::Duration queued;      // waited for a worker
  absl::Duration compute;     // of the whole batch, as a clock saw it
};

struct Step {
  std::shared_ptr<const LoadedModel> model;
  model::ModelInput input;
  model::OutputKind output = model::OutputKind::kOutput;
  Priority priority = Priority::kNormal;
  absl::Time deadline = absl::InfiniteFuture();
  // Whether nobody waits for the result any more; may be empty. Called from
  // any worker until `done` is.
  std::function<bool()> cancelled;
  // Once, on a worker (or in Drain). Errors: INVALID_ARGUMENT about the input,
  // as model::Model::Forward says it; CANCELLED and DEADLINE_EXCEEDED, before
  // or during the computation; UNAVAILABLE when drained away. May submit.
  std::function<void(absl::StatusOr<StepResult>)> done;
};

// How a task runs.
struct Turn {
  absl::Duration queued;
  kernels::ThreadPool* pool;  // nullptr: on the calling thread alone
};

// Any other bounded computation with a model, such as the product with one
// layer. It takes its turn among the steps and is never part of a batch.
struct Task {
  std::shared_ptr<const LoadedModel> model;
  size_t rows = 1;
  uint64_t multiply_adds = 0;  // what it counts for in the share of the model
  Priority priority = Priority::kNormal;
  absl::Time deadline = absl::InfiniteFuture();
  std::function<bool()> cancelled;
  // One of the two, once, on a worker (or `drop` in Drain). `drop` gets the
  // errors of Step::done that come before the computation.
  std::function<void(const Turn&)> run;
  std::function<void(const absl::Status&)> drop;
};

struct SchedulerOptions {
  kernels::ThreadPool* pool = nullptr;
  bool allow_non_finite = false;  // in features; such rows come out as NaN
};

class Scheduler {
 public:
  Scheduler(const SchedulerOptions& options, WorkQueue* queue);

  // RESOURCE_EXHAUSTED, at once, when the model's queue is full; UNAVAILABLE
  // after Drain. Nothing of `step` or `task` is called then.
  absl::Status Submit(Step step);
  absl::Status Submit(Task task);

 private:
  const SchedulerOptions options_;
  WorkQueue& queue_;
};

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_SCHEDULER_H_
