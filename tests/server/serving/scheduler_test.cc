// What is computed next, and together with what.

#include "server/serving/scheduler.h"

#include <atomic>
#include <future>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/serving/scheduler_fixture.h"

namespace octet::serving {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Optional;

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
  std::map<int, absl::Status> by_name = StatusByName();
  ASSERT_EQ(by_name.size(), 5);
  EXPECT_TRUE(by_name[0].ok()) << by_name[0];
  EXPECT_TRUE(by_name[4].ok()) << by_name[4];
  for (const int wrong : {1, 2, 3}) {
    EXPECT_TRUE(absl::IsInvalidArgument(by_name[wrong])) << by_name[wrong];
  }
  EXPECT_THAT(std::string(by_name[1].message()), HasSubstr("features[0][1]"));
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

TEST_F(SchedulerTest, IdleWorkersHelpBusyOnes) {
  kernels::ThreadPool pool(3);
  SchedulerOptions options;
  options.workers = 3;
  options.pool = &pool;
  Scheduler scheduler(options, &metrics_);
  std::vector<Blocker> blockers(3);
  for (size_t busy = 1; busy <= blockers.size(); ++busy) {
    Blocker& blocker = blockers[busy - 1];
    ASSERT_TRUE(scheduler.Submit(blocker.task(exact_)).ok());
    blocker.WaitUntilItRuns();
    EXPECT_EQ(pool.threads(), 4 - busy);
  }
  for (Blocker& blocker : blockers) blocker.Release();
  scheduler.Drain(absl::InfiniteFuture());
  EXPECT_EQ(pool.threads(), 3);
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
