#include "server/serving/scheduler.h"

#include <atomic>
#include <future>
#include <limits>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/serving/model_files.h"
#include "tests/server/telemetry/scrape.h"

namespace octet::serving {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Optional;

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

TEST_F(SchedulerTest, AStepGetsTheAnswerOfItsModel) {
  {
    Scheduler scheduler(OneWorker(), &metrics_);
    ASSERT_TRUE(Submit(scheduler, StepOf(exact_, 2, 3)).ok());
  }
  ASSERT_EQ(results_.size(), 1);
  ASSERT_TRUE(results_[0].ok()) << results_[0].status();
  EXPECT_EQ(results_[0]->output.rows, 3);
  EXPECT_EQ(results_[0]->output.cols, 1);
  EXPECT_THAT(results_[0]->output.values, ElementsAre(12.5F, 16.5F, 20.5F));
  EXPECT_GE(results_[0]->queued, absl::ZeroDuration());
  EXPECT_GT(results_[0]->compute, absl::ZeroDuration());
}

TEST_F(SchedulerTest, WhatWaitsRunsAsOneBatchAndEachGetsItsOwnRows) {
  Blocker blocker;
  {
    Scheduler scheduler(OneWorker(), &metrics_);
    ASSERT_TRUE(scheduler.Submit(blocker.task(exact_)).ok());
    blocker.WaitUntilItRuns();
    for (int i = 0; i < 5; ++i) {
      ASSERT_TRUE(Submit(scheduler, StepOf(coded_, i, i + 1), i).ok());
    }
    blocker.Release();
  }
  EXPECT_THAT(order_, ElementsAre(0, 1, 2, 3, 4));
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(results_[i].ok()) << results_[i].status();
    const model::ModelOutput& output = results_[i]->output;
    ASSERT_EQ(output.rows, i + 1);
    for (int row = 0; row <= i; ++row) {
      // Not nearly: the same bits as alone.
      EXPECT_EQ(output.values[row],
                Answer(*coded_, static_cast<float>(i + row), 1));
    }
  }
  EXPECT_THAT(Metric("octet_batch_requests_sum{model=\"coded\"}"),
              Optional(5 + 15));  // 15 by Answer
  EXPECT_THAT(Metric("octet_batch_requests_count{model=\"coded\"}"),
              Optional(1 + 15));
}

TEST_F(SchedulerTest, ALargeStepIsComputedInPieces) {
  constexpr size_t kRows = 1000;
  SchedulerOptions options;
  options.workers = 3;
  options.batch_rows = 64;
  {
    Scheduler scheduler(options, &metrics_);
    ASSERT_TRUE(Submit(scheduler, StepOf(coded_, -500, kRows)).ok());
  }
  ASSERT_EQ(results_.size(), 1);
  ASSERT_TRUE(results_[0].ok()) << results_[0].status();
  const model::ModelOutput& output = results_[0]->output;
  ASSERT_EQ(output.rows, kRows);
  EXPECT_EQ(coded_->stats().forward_count, 1);
  EXPECT_EQ(coded_->stats().row_count, kRows);
  EXPECT_THAT(Metric("octet_batch_rows_count{model=\"coded\"}"),
              Optional(testing::Ge(kRows / 64)));
  for (size_t row = 0; row < kRows; row += 37) {
    EXPECT_EQ(output.values[row],
              Answer(*coded_, static_cast<float>(row) - 500, 1));
  }
}

TEST_F(SchedulerTest, AWrongInputDoesNotSpoilItsNeighbours) {
  Blocker blocker;
  {
    Scheduler scheduler(OneWorker(), &metrics_);
    ASSERT_TRUE(scheduler.Submit(blocker.task(exact_)).ok());
    blocker.WaitUntilItRuns();
    ASSERT_TRUE(Submit(scheduler, StepOf(exact_, 1), 0).ok());
    Step infinite = StepOf(exact_, 1);
    infinite.input.features[1] = std::numeric_limits<float>::infinity();
    ASSERT_TRUE(Submit(scheduler, std::move(infinite), 1).ok());
    Step wide = StepOf(exact_, 1);
    wide.input.features.push_back(1);
    ASSERT_TRUE(Submit(scheduler, std::move(wide), 2).ok());
    Step tokens;
    tokens.model = exact_;
    tokens.input.token_ids = {1, 2};
    tokens.input.lengths = {-3};
    ASSERT_TRUE(Submit(scheduler, std::move(tokens), 3).ok());
    ASSERT_TRUE(Submit(scheduler, StepOf(exact_, 2), 4).ok());
    blocker.Release();
  }
  std::map<int, absl::Status> by_name;
  for (size_t i = 0; i < order_.size(); ++i) {
    by_name[order_[i]] = results_[i].status();
  }
  ASSERT_EQ(by_name.size(), 5);
  EXPECT_TRUE(by_name[0].ok()) << by_name[0];
  EXPECT_TRUE(by_name[4].ok()) << by_name[4];
  for (const int wrong : {1, 2, 3}) {
    EXPECT_TRUE(absl::IsInvalidArgument(by_name[wrong])) << by_name[wrong];
  }
  EXPECT_THAT(std::string(by_name[1].message()), HasSubstr("features[0][1]"));
}

TEST_F(SchedulerTest, AFullQueueRefusesAtOnceAndCallsNothing) {
  Blocker blocker;
  SchedulerOptions options = OneWorker();
  options.queue_requests = 2;
  {
    Scheduler scheduler(options, &metrics_);
    // Of a model that is loaded later: capacities are the scheduler's.
    const Model late = *registry_->Load("late", "checkpoints/c");
    ASSERT_TRUE(scheduler.Submit(blocker.task(late)).ok());
    blocker.WaitUntilItRuns();
    ASSERT_TRUE(Submit(scheduler, StepOf(late, 1)).ok());
    ASSERT_TRUE(Submit(scheduler, StepOf(late, 2)).ok());
    const absl::Status refused = Submit(scheduler, StepOf(late, 3));
    EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
    EXPECT_TRUE(Submit(scheduler, StepOf(coded_, 4)).ok())
        << "another model's queue is its own";
    EXPECT_THAT(Metric("octet_queue_depth{model=\"late\"}"), Optional(2));
    EXPECT_THAT(Metric("octet_queue_rows{model=\"late\"}"), Optional(2));
    EXPECT_THAT(Metric("octet_queue_capacity{model=\"late\"}"), Optional(2));
    EXPECT_THAT(Metric("octet_work_rejected_total{reason=\"queue_full\"}"),
                Optional(1));
    blocker.Release();
  }
  EXPECT_EQ(results_.size(), 3);
  EXPECT_THAT(Metric("octet_queue_depth{model=\"late\"}"), Optional(0));
}

TEST_F(SchedulerTest, RowsAreBoundedTooButOneLargeStepAlwaysFits) {
  Blocker blocker;
  SchedulerOptions options = OneWorker();
  options.queue_rows = 10;
  {
    Scheduler scheduler(options, &metrics_);
    ASSERT_TRUE(scheduler.Submit(blocker.task(exact_)).ok());
    blocker.WaitUntilItRuns();
    ASSERT_TRUE(Submit(scheduler, StepOf(exact_, 1, 30)).ok());
    const absl::Status refused = Submit(scheduler, StepOf(exact_, 1));
    EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
    blocker.Release();
  }
  ASSERT_EQ(results_.size(), 1);
  EXPECT_TRUE(results_[0].ok());
}

TEST_F(SchedulerTest, WhatNobodyWaitsForGivesUpItsPlaceInAFullQueue) {
  Blocker blocker;
  std::atomic<bool> cancelled = false;
  SchedulerOptions options = OneWorker();
  options.queue_requests = 2;
  {
    Scheduler scheduler(options, &metrics_);
    ASSERT_TRUE(scheduler.Submit(blocker.task(exact_)).ok());
    blocker.WaitUntilItRuns();
    for (int i = 0; i < 2; ++i) {
      Step step = StepOf(exact_, 1);
      step.cancelled = [&] { return cancelled.load(); };
      ASSERT_TRUE(Submit(scheduler, std::move(step), i).ok());
    }
    cancelled = true;
    EXPECT_TRUE(Submit(scheduler, StepOf(exact_, 2), 2).ok());
    blocker.Release();
  }
  ASSERT_EQ(results_.size(), 3);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(results_[i].ok(), order_[i] == 2) << results_[i].status();
  }
  EXPECT_EQ(exact_->stats().forward_count, 1);
}

TEST_F(SchedulerTest, CancelledAndExpiredWorkNeverRuns) {
  constexpr int kEach = 50;
  Blocker blocker;
  std::atomic<bool> cancelled = false;
  {
    Scheduler scheduler(OneWorker(), &metrics_);
    ASSERT_TRUE(scheduler.Submit(blocker.task(exact_)).ok());
    blocker.WaitUntilItRuns();
    for (int i = 0; i < kEach; ++i) {
      Step step = StepOf(exact_, 1);
      step.cancelled = [&] { return cancelled.load(); };
      ASSERT_TRUE(Submit(scheduler, std::move(step), 0).ok());
      Step late = StepOf(exact_, 1);
      late.deadline = absl::Now();
      ASSERT_TRUE(Submit(scheduler, std::move(late), 1).ok());
      ASSERT_TRUE(Submit(scheduler, StepOf(exact_, 1), 2).ok());
    }
    cancelled = true;
    blocker.Release();
  }
  ASSERT_EQ(results_.size(), 3 * kEach);
  for (size_t i = 0; i < results_.size(); ++i) {
    const absl::Status status = results_[i].status();
    EXPECT_EQ(absl::IsCancelled(status), order_[i] == 0) << status;
    EXPECT_EQ(absl::IsDeadlineExceeded(status), order_[i] == 1) << status;
  }
  EXPECT_EQ(exact_->stats().row_count, kEach);
  for (const char* reason : {"cancelled", "deadline_exceeded"}) {
    EXPECT_THAT(Metric("octet_work_dropped_total{reason=\"" +
                       std::string(reason) + "\",stage=\"queue\"}"),
                Optional(kEach));
  }
}

TEST_F(SchedulerTest, AStepThatIsCancelledWhileItRunsStops) {
  std::atomic<int> asked = 0;
  {
    Scheduler scheduler(OneWorker(), &metrics_);
    Step step = StepOf(exact_, 1);
    // Wanted when it starts, not when the second operator does.
    step.cancelled = [&] { return ++asked > 2; };
    ASSERT_TRUE(Submit(scheduler, std::move(step)).ok());
  }
  ASSERT_EQ(results_.size(), 1);
  EXPECT_TRUE(absl::IsCancelled(results_[0].status()));
  EXPECT_EQ(exact_->stats().forward_count, 0);
  EXPECT_THAT(
      Metric(
          "octet_work_dropped_total{reason=\"cancelled\",stage=\"compute\"}"),
      Optional(1));
}

TEST_F(SchedulerTest, ABatchGoesOnForThoseThatAreStillThere) {
  Blocker blocker;
  std::atomic<int> asked = 0;
  {
    Scheduler scheduler(OneWorker(), &metrics_);
    ASSERT_TRUE(scheduler.Submit(blocker.task(exact_)).ok());
    blocker.WaitUntilItRuns();
    Step leaves = StepOf(exact_, 1);
    leaves.cancelled = [&] { return ++asked > 1; };
    ASSERT_TRUE(Submit(scheduler, std::move(leaves), 0).ok());
    ASSERT_TRUE(Submit(scheduler, StepOf(exact_, 2), 1).ok());
    blocker.Release();
  }
  ASSERT_EQ(results_.size(), 2);
  EXPECT_TRUE(absl::IsCancelled(results_[0].status()));
  ASSERT_TRUE(results_[1].ok()) << results_[1].status();
  EXPECT_EQ(results_[1]->output.values[0], 12.5F);
}

TEST_F(SchedulerTest, HighGoesFirstAndLowIsNotForgotten) {
  Blocker blocker;
  {
    Scheduler scheduler(OneWorker(), &metrics_);
    ASSERT_TRUE(scheduler.Submit(blocker.task(exact_)).ok());
    blocker.WaitUntilItRuns();
    for (const int name : {300, 200, 100}) {
      const auto priority = static_cast<Priority>(name / 100 - 1);
      for (int i = 0; i < 84; ++i) {
        ASSERT_TRUE(SubmitTask(scheduler, exact_, name + i, priority).ok());
      }
    }
    blocker.Release();
  }
  ASSERT_EQ(order_.size(), 3 * 84);
  // In order within a priority.
  EXPECT_LT(Position(order_, 100), Position(order_, 183));
  EXPECT_LT(Position(order_, 300), Position(order_, 383));
  // Of the first 84: 16 of 21 high, 4 of 21 normal, 1 of 21 low.
  std::map<int, int> share;
  for (size_t i = 0; i < 84; ++i) ++share[order_[i] / 100];
  EXPECT_THAT(share[1], testing::AllOf(testing::Ge(60), testing::Le(68)));
  EXPECT_THAT(share[2], testing::AllOf(testing::Ge(12), testing::Le(20)));
  EXPECT_THAT(share[3], testing::AllOf(testing::Ge(2), testing::Le(6)));
}

TEST_F(SchedulerTest, AModelWithALongQueueDoesNotHoldUpAnother) {
  Blocker blocker;
  constexpr int kMany = 100;
  {
    Scheduler scheduler(OneWorker(), &metrics_);
    ASSERT_TRUE(scheduler.Submit(blocker.task(exact_)).ok());
    blocker.WaitUntilItRuns();
    for (int i = 0; i < kMany; ++i) {
      ASSERT_TRUE(SubmitTask(scheduler, exact_, i, Priority::kNormal).ok());
    }
    for (int i = 0; i < 10; ++i) {
      ASSERT_TRUE(
          SubmitTask(scheduler, coded_, 1000 + i, Priority::kNormal, 200).ok());
    }
    blocker.Release();
  }
  ASSERT_EQ(order_.size(), kMany + 10);
  // Each costs twice as much: one after two of the others.
  EXPECT_LE(Position(order_, 1009), 32);
  EXPECT_GE(Position(order_, 1009), 25);
}

TEST_F(SchedulerTest, DrainFinishesWhatWasAdmittedAndAdmitsNoMore) {
  SchedulerOptions options;
  options.workers = 2;
  Scheduler scheduler(options, &metrics_);
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(Submit(scheduler, StepOf(exact_, 1)).ok());
  }
  scheduler.Drain(absl::InfiniteFuture());
  ASSERT_EQ(results_.size(), 60);
  for (const auto& result : results_) EXPECT_TRUE(result.ok());
  const absl::Status late = Submit(scheduler, StepOf(exact_, 1));
  EXPECT_TRUE(absl::IsUnavailable(late)) << late;
  EXPECT_EQ(results_.size(), 60);
}

TEST_F(SchedulerTest, DrainDropsWhatHasNotStartedInTime) {
  Blocker blocker;
  Scheduler scheduler(OneWorker(), &metrics_);
  ASSERT_TRUE(scheduler.Submit(blocker.task(exact_)).ok());
  blocker.WaitUntilItRuns();
  std::atomic<int> dropped = 0;
  for (int i = 0; i < 3; ++i) {
    Step step = StepOf(exact_, 1);
    step.done = [&](const absl::StatusOr<StepResult>& result) {
      EXPECT_TRUE(absl::IsUnavailable(result.status())) << result.status();
      if (++dropped == 3) blocker.Release();
    };
    ASSERT_TRUE(scheduler.Submit(std::move(step)).ok());
  }
  scheduler.Drain(absl::Now());
  EXPECT_EQ(dropped, 3);
  EXPECT_THAT(
      Metric("octet_work_dropped_total{reason=\"shutdown\",stage=\"queue\"}"),
      Optional(3));
}

// As a decoder does: the next step is submitted when the last one is done.
TEST_F(SchedulerTest, AStepMaySubmitTheNext) {
  constexpr int kSteps = 100;
  std::promise<void> over;
  Scheduler scheduler(OneWorker(), &metrics_);
  int steps = 0;
  std::function<void()> next = [&] {
    Step step = StepOf(exact_, static_cast<float>(steps));
    step.done = [&](const absl::StatusOr<StepResult>& result) {
      ASSERT_TRUE(result.ok()) << result.status();
      if (++steps == kSteps) return over.set_value();
      next();
    };
    ASSERT_TRUE(scheduler.Submit(std::move(step)).ok());
  };
  next();
  over.get_future().wait();
  EXPECT_EQ(exact_->stats().forward_count, kSteps);
}

TEST_F(SchedulerTest, FewRowsWaitForMoreWhenToldTo) {
  SchedulerOptions options = OneWorker();
  options.batch_rows = 4;
  options.batch_wait = absl::Hours(1);
  {
    Scheduler scheduler(options, &metrics_);
    for (int i = 0; i < 4; ++i) {
      ASSERT_TRUE(Submit(scheduler, StepOf(exact_, 1), i).ok());
    }
    // Four rows are a batch; the fifth waits, until there is nothing more to
    // wait for.
    ASSERT_TRUE(Submit(scheduler, StepOf(exact_, 1), 4).ok());
  }
  EXPECT_EQ(results_.size(), 5);
  EXPECT_THAT(Metric("octet_batch_requests_count{model=\"exact\"}"),
              Optional(2));
}

TEST_F(SchedulerTest, ManyProducersGetOneAnswerForEachStep) {
  constexpr int kProducers = 6;
  constexpr int kEach = 300;
  const uint32_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::atomic<int> answers = 0;
  std::atomic<int> refusals = 0;
  std::atomic<int> wrong = 0;
  SchedulerOptions options;
  options.workers = 3;
  options.queue_requests = 16;
  options.batch_rows = 8;
  {
    Scheduler scheduler(options, &metrics_);
    std::vector<std::thread> producers;
    for (int p = 0; p < kProducers; ++p) {
      producers.emplace_back([&, p] {
        std::mt19937 random(seed + p);
        for (int i = 0; i < kEach; ++i) {
          const auto first = static_cast<float>(random() % 100);
          const size_t rows = 1 + random() % 20;
          Step step = StepOf(exact_, first, rows);
          step.priority = static_cast<Priority>(random() % 3);
          if (random() % 7 == 0) step.cancelled = [] { return true; };
          step.done = [&, first, rows](absl::StatusOr<StepResult> result) {
            ++answers;
            if (!result.ok()) return;
            for (size_t row = 0; row < rows; ++row) {
              const float a = first + static_cast<float>(row);
              if (result->output.values[row] != 4 * (a + 1) + 0.5F) ++wrong;
            }
          };
          if (!scheduler.Submit(std::move(step)).ok()) ++refusals;
        }
      });
    }
    for (std::thread& producer : producers) producer.join();
  }
  EXPECT_EQ(answers + refusals, kProducers * kEach);
  EXPECT_EQ(wrong, 0);
}

TEST_F(SchedulerTest, WorkersReportTheTimeTheyWereBusy) {
  {
    Scheduler scheduler(OneWorker(), &metrics_);
    Task task;
    task.model = exact_;
    task.run = [](const Turn&) { absl::SleepFor(absl::Milliseconds(20)); };
    ASSERT_TRUE(scheduler.Submit(std::move(task)).ok());
  }
  EXPECT_THAT(Metric("octet_workers"), Optional(1));
  EXPECT_THAT(Metric("octet_worker_busy_seconds_total"),
              Optional(testing::Ge(0.02)));
}

TEST_F(SchedulerTest, ABriefTaskRunsWhereItIsSubmittedWhileNothingWaits) {
  Scheduler scheduler(OneWorker(), &metrics_);
  std::promise<std::thread::id> ran;
  Task task;
  task.model = exact_;
  task.brief = true;
  task.run = [&](const Turn& turn) {
    EXPECT_EQ(turn.pool, nullptr);
    ran.set_value(std::this_thread::get_id());
  };
  task.drop = [](const absl::Status& why) { FAIL() << why; };
  ASSERT_TRUE(scheduler.Submit(task).ok());
  EXPECT_EQ(ran.get_future().get(), std::this_thread::get_id());

  // With the only worker busy it takes its turn on that one.
  Blocker blocker;
  ASSERT_TRUE(scheduler.Submit(blocker.task(exact_)).ok());
  blocker.WaitUntilItRuns();
  ran = {};
  ASSERT_TRUE(scheduler.Submit(task).ok());
  blocker.Release();
  EXPECT_NE(ran.get_future().get(), std::this_thread::get_id());

  scheduler.Drain(absl::Now());
  EXPECT_TRUE(absl::IsUnavailable(scheduler.Submit(task)));
}

TEST_F(SchedulerTest, ABriefTaskThatNobodyWaitsForIsDropped) {
  Scheduler scheduler(OneWorker(), &metrics_);
  absl::Status why;
  Task task;
  task.model = exact_;
  task.brief = true;
  task.cancelled = [] { return true; };
  task.run = [](const Turn&) { FAIL() << "it was cancelled"; };
  task.drop = [&](const absl::Status& status) { why = status; };
  ASSERT_TRUE(scheduler.Submit(task).ok());
  EXPECT_TRUE(absl::IsCancelled(why)) << why;
}

// A worker must not find that there are no workers.
TEST_F(SchedulerTest, WorkersGoOnWhileABriefTaskStandsInForOne) {
  Scheduler scheduler(OneWorker(), &metrics_);
  Task task;
  task.model = exact_;
  task.brief = true;
  task.run = [&](const Turn&) {
    std::promise<void> done;
    Step step = StepOf(exact_, 2);
    step.done = [&](const absl::StatusOr<StepResult>& result) {
      EXPECT_TRUE(result.ok()) << result.status();
      done.set_value();
    };
    EXPECT_TRUE(scheduler.Submit(std::move(step)).ok());
    done.get_future().wait();
  };
  task.drop = [](const absl::Status& why) { FAIL() << why; };
  ASSERT_TRUE(scheduler.Submit(std::move(task)).ok());
}

}  // namespace
}  // namespace octet::serving
