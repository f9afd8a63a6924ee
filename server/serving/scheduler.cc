#include "server/serving/scheduler.h"

#include <memory>
#include <utility>

#include "absl/time/clock.h"

namespace octet::serving {
namespace {

bool Gone(const Step& step) {
  return (step.cancelled && step.cancelled()) || absl::Now() >= step.deadline;
}

// A run that stopped for its deadline says so.
absl::Status WhyNot(const Step& step, const absl::Status& status) {
  if (absl::IsCancelled(status) && absl::Now() >= step.deadline) {
    return absl::DeadlineExceededError(
        "the deadline passed while the request was computed");
  }
  return status;
}

absl::StatusOr<StepResult> Run(const Step& step, absl::Duration queued,
                               const SchedulerOptions& how) {
  model::RunOptions options;
  options.output = step.output;
  options.pool = how.pool;
  options.allow_non_finite = how.allow_non_finite;
  options.cancelled = [&step] { return Gone(step); };
  StepResult result;
  result.queued = queued;
  const absl::Time start = absl::Now();
  absl::StatusOr<model::ModelOutput> output =
      step.model->Forward(step.input, std::move(options), &result.times);
  if (!output.ok()) return WhyNot(step, output.status());
  result.output = *std::move(output);
  result.compute = absl::Now() - start;
  return result;
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options, WorkQueue* queue)
    : options_(options), queue_(*queue) {}

absl::Status Scheduler::Submit(Step step) {
  const auto shared = std::make_shared<Step>(std::move(step));
  Work work;
  work.deadline = shared->deadline;
  work.cancelled = shared->cancelled;
  work.run = [this, shared](absl::Duration queued) {
    shared->done(Run(*shared, queued, options_));
  };
  work.drop = [shared](absl::Status why) { shared->done(std::move(why)); };
  return queue_.Submit(std::move(work));
}

absl::Status Scheduler::Submit(Task task) {
  Work work;
  work.deadline = task.deadline;
  work.cancelled = std::move(task.cancelled);
  work.run = [run = std::move(task.run), model = std::move(task.model),
              pool = options_.pool](absl::Duration queued) {
    run({queued, pool});
  };
  work.drop = std::move(task.drop);
  return queue_.Submit(std::move(work));
}

}  // namespace octet::serving
