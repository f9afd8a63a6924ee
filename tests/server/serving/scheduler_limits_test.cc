// What is not computed: too much, too late, not wanted any more.

#include <atomic>
#include <string>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/serving/scheduler.h"
#include "server/serving/why_stopped.h"
#include "tests/server/serving/scheduler_fixture.h"

namespace octet::serving {
namespace {

using ::testing::Optional;

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

TEST(WhyStopped, AClientThatIsGoneAtItsDeadlineIsLate) {
  const auto gone = [] { return true; };
  const auto there = [] { return false; };
  const absl::Time now = absl::Now();
  for (const absl::Duration left :
       {absl::Milliseconds(-50), absl::ZeroDuration(), absl::Milliseconds(5)}) {
    EXPECT_TRUE(absl::IsDeadlineExceeded(WhyStopped(gone, now + left)));
  }
  EXPECT_TRUE(absl::IsDeadlineExceeded(WhyStopped(there, now)));
  for (const absl::Time later :
       {now + absl::Hours(1), absl::InfiniteFuture()}) {
    EXPECT_TRUE(absl::IsCancelled(WhyStopped(gone, later)));
    EXPECT_TRUE(WhyStopped(there, later).ok());
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

}  // namespace
}  // namespace octet::serving
