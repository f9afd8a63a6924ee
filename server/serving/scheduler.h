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
#include "server/serving/fetched_rows.h"
#include "server/serving/loaded_model.h"
#include "server/telemetry/metrics.h"

namespace octet::serving {

// Among the work of one model. A lower one waits longer, never for ever.
enum class Priority : uint8_t { kHigh, kNormal, kLow };

// What came of a step, and where the time went.
struct StepResult {
  model::ModelOutput output;
  kernels::PhaseTimes times;  // CPU time; in a batch, the share of its rows
  absl::Duration queued;      // waited for a worker
  absl::Duration decode;      // its rows were fetched
  absl::Duration compute;     // of the whole batch, as a clock saw it
};

struct Step {
  std::shared_ptr<const LoadedModel> model;
  model::ModelInput input;
  // In place of an input; not fetched after `done`. An error is the step's.
  FetchedRows features;
  model::OutputKind output = model::OutputKind::kOutput;
  Priority priority = Priority::kNormal;
  absl::Time deadline = absl::InfiniteFuture();
  // Whether nobody waits for the result any more; may be empty. Called from
  // any thread until `done` is; must not call the scheduler.
  std::function<bool()> cancelled;
  // Once, on a worker (or in Drain). Errors: INVALID_ARGUMENT about the input,
  // as model::Model::Forward says it; CANCELLED and DEADLINE_EXCEEDED, before
  // or during the computation; UNAVAILABLE when drained away. May submit.
  std::function<void(absl::StatusOr<StepResult>)> done;
};

// A task of at most as many multiply-adds is brief: ten microseconds of a VNNI
// core, which is what waking a worker takes.
inline constexpr uint64_t kBriefProducts = uint64_t{1} << 20;

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
  // Takes no longer than handing it to a worker would. Submit runs it itself,
  // if nothing waits and a worker is idle.
  bool brief = false;
  // One of the two, once, on a worker (or in Submit, or `drop` in Drain).
  // `drop` gets the errors of Step::done that come before the computation.
  std::function<void(const Turn&)> run;
  std::function<void(const absl::Status&)> drop;
};

struct SchedulerOptions {
  size_t workers = 1;                   // threads; at least 1
  kernels::ThreadPool* pool = nullptr;  // for large work that is alone
  bool allow_non_finite = false;        // such feature rows come out as NaN
  // What may wait for each model. A step of more rows than that is admitted
  // when nothing waits.
  size_t queue_requests = 256;
  size_t queue_rows = size_t{1} << 16;
  // Rows that a worker takes at once, if so many wait. Whole sequences: one
  // longer than that is a batch of its own.
  size_t batch_rows = 128;
  // How long a batch of fewer rows waits for more.
  absl::Duration batch_wait = absl::ZeroDuration();
};

// Each model has a queue of its own, and idle workers divide what waits between
// them. A step of more rows than a batch has is computed in pieces, which take
// turns with other work. Models get equal shares of the multiply-adds.
class Scheduler {
 public:
  // `metrics` may be nullptr and must outlive the scheduler. Throws
  // std::system_error where the system starts no more threads.
  Scheduler(const SchedulerOptions& options, telemetry::Metrics* metrics);
  ~Scheduler();  // drains: what was admitted is finished

  // RESOURCE_EXHAUSTED, at once, when the model's queue is full; UNAVAILABLE
  // after Drain. Nothing of `step` or `task` is called then.
  absl::Status Submit(Step step);
  absl::Status Submit(Task task);

  const SchedulerOptions& options() const;

  // Admits no more and waits until what was admitted is done. What has not
  // started by `deadline` is dropped; what has started is always waited for.
  void Drain(absl::Time deadline);

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_SCHEDULER_H_
