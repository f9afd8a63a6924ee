// Models to schedule, and what became of what was submitted.

#ifndef OCTET_TESTS_SERVER_SERVING_SCHEDULER_FIXTURE_H_
#define OCTET_TESTS_SERVER_SERVING_SCHEDULER_FIXTURE_H_

#include <algorithm>
#include <atomic>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/serving/scheduler.h"
#include "tests/server/serving/model_files.h"
#include "tests/server/telemetry/scrape.h"

namespace octet::serving {

using Model = std::shared_ptr<const LoadedModel>;

// Keeps one worker busy until it is released.
class Blocker {
 public:
  Task task(const Model& model) {
    Task task;
    task.model = model;
    task.run = [this](const Turn&) {
      started_.set_value();
      release_.get_future().wait();
    };
    task.drop = [](const absl::Status&) { FAIL() << "a blocker was dropped"; };
    return task;
  }
  void WaitUntilItRuns() { started_.get_future().wait(); }
  void Release() { release_.set_value(); }

 private:
  std::promise<void> started_;
  std::promise<void> release_;
};

class SchedulerTest : public RegistryTest {
 protected:
  SchedulerTest() {
    AddCheckpoint("c");
    AddBundle("b");
    registry_ = NewRegistry(&metrics_);
    exact_ = *registry_->Load("exact", "checkpoints/c");
    coded_ = *registry_->Load("coded", "bundles/b");
  }

  // Rows (first, 1), (first + 1, 1), ...
  static Step StepOf(const Model& model, float first, size_t rows = 1) {
    Step step;
    step.model = model;
    for (size_t i = 0; i < rows; ++i) {
      step.input.features.push_back(first + static_cast<float>(i));
      step.input.features.push_back(1);
    }
    step.input.feature_rows = rows;
    return step;
  }

  // The same rows, where they have to be fetched from; `fetched` counts how
  // often each one was.
  static Step FetchedStepOf(const Model& model, float first, size_t rows,
                            std::vector<std::atomic<int>>& fetched) {
    Step step;
    step.model = model;
    step.features.rows = rows;
    step.features.fetch = [first, &fetched](size_t row, size_t count,
                                            float* to) {
      for (const size_t end = row + count; row < end; ++row) {
        *to++ = first + static_cast<float>(row);
        *to++ = 1;
        ++fetched[row];
      }
      return absl::OkStatus();
    };
    return step;
  }

  // What came of each step that was submitted; nothing runs any more.
  std::map<int, absl::Status> StatusByName() const {
    std::map<int, absl::Status> by_name;
    for (size_t i = 0; i < order_.size(); ++i) {
      by_name[order_[i]] = results_[i].status();
    }
    return by_name;
  }

  // Submits and remembers what came of it, in order.
  absl::Status Submit(Scheduler& scheduler, Step step, int name = 0) {
    step.done = [this, name](absl::StatusOr<StepResult> result) {
      const std::lock_guard lock(mutex_);
      order_.push_back(name);
      results_.push_back(std::move(result));
    };
    return scheduler.Submit(std::move(step));
  }

  // A task that only leaves its name.
  absl::Status SubmitTask(Scheduler& scheduler, const Model& model, int name,
                          Priority priority, size_t multiply_adds = 100) {
    Task task;
    task.model = model;
    task.multiply_adds = multiply_adds;
    task.priority = priority;
    task.run = [this, name](const Turn&) {
      const std::lock_guard lock(mutex_);
      order_.push_back(name);
    };
    task.drop = [](const absl::Status& why) { FAIL() << why; };
    return scheduler.Submit(std::move(task));
  }

  static SchedulerOptions OneWorker() {
    SchedulerOptions options;
    options.workers = 1;
    return options;
  }

  static size_t Position(const std::vector<int>& order, int name) {
    return static_cast<size_t>(std::find(order.begin(), order.end(), name) -
                               order.begin());
  }

  std::optional<double> Metric(const std::string& name) const {
    return telemetry::Collect(metrics_).Value(name);
  }

  mutable telemetry::Metrics metrics_;
  std::unique_ptr<ModelRegistry> registry_;
  Model exact_;
  Model coded_;
  std::mutex mutex_;
  std::vector<int> order_;
  std::vector<absl::StatusOr<StepResult>> results_;
};

}  // namespace octet::serving

#endif  // OCTET_TESTS_SERVER_SERVING_SCHEDULER_FIXTURE_H_
