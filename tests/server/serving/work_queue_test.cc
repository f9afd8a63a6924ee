#include "server/serving/work_queue.h"

#include <atomic>
#include <future>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace octet::serving {
namespace {

// Keeps one worker busy until it is released.
class Blocker {
 public:
  Work work() {
    Work work;
    work.run = [this](absl::Duration) {
      started_.set_value();
      release_.get_future().wait();
    };
    work.drop = [](const absl::Status&) { FAIL() << "a blocker was dropped"; };
    return work;
  }
  void WaitUntilItRuns() { started_.get_future().wait(); }
  void Release() { release_.set_value(); }

 private:
  std::promise<void> started_;
  std::promise<void> release_;
};

Work Counting(std::atomic<int>& runs, std::atomic<int>& drops) {
  Work work;
  work.run = [&](absl::Duration) { ++runs; };
  work.drop = [&](const absl::Status&) { ++drops; };
  return work;
}

TEST(WorkQueue, RunsEachWorkOnceInOrderOnOneWorker) {
  std::vector<int> order;
  {
    WorkQueue queue(1, 100);
    for (int i = 0; i < 50; ++i) {
      Work work;
      work.run = [&order, i](absl::Duration queued) {
        EXPECT_GE(queued, absl::ZeroDuration());
        order.push_back(i);
      };
      ASSERT_TRUE(queue.Submit(std::move(work)).ok());
    }
  }
  ASSERT_EQ(order.size(), 50);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(order[i], i);
}

TEST(WorkQueue, AFullQueueRefusesAtOnceAndCallsNothing) {
  std::atomic<int> runs = 0;
  std::atomic<int> drops = 0;
  Blocker blocker;
  {
    WorkQueue queue(1, 2);
    ASSERT_TRUE(queue.Submit(blocker.work()).ok());
    blocker.WaitUntilItRuns();
    ASSERT_TRUE(queue.Submit(Counting(runs, drops)).ok());
    ASSERT_TRUE(queue.Submit(Counting(runs, drops)).ok());
    // Returns although nothing can move: the worker is ours.
    const absl::Status refused = queue.Submit(Counting(runs, drops));
    EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
    blocker.Release();
  }
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(drops, 0);
}

TEST(WorkQueue, CancelledWorkIsDroppedBeforeItRuns) {
  std::atomic<bool> cancelled = false;
  absl::Status dropped;
  Blocker blocker;
  {
    WorkQueue queue(1, 2);
    ASSERT_TRUE(queue.Submit(blocker.work()).ok());
    blocker.WaitUntilItRuns();
    Work work;
    work.run = [](absl::Duration) { FAIL() << "cancelled work ran"; };
    work.drop = [&](absl::Status why) { dropped = std::move(why); };
    work.cancelled = [&] { return cancelled.load(); };
    ASSERT_TRUE(queue.Submit(std::move(work)).ok());
    cancelled = true;  // while it waits
    blocker.Release();
  }
  EXPECT_TRUE(absl::IsCancelled(dropped)) << dropped;
}

TEST(WorkQueue, ExpiredWorkIsDroppedBeforeItRuns) {
  absl::Status dropped;
  std::atomic<int> runs = 0;
  std::atomic<int> drops = 0;
  {
    WorkQueue queue(1, 2);
    Work work;
    work.run = [](absl::Duration) { FAIL() << "expired work ran"; };
    work.drop = [&](absl::Status why) { dropped = std::move(why); };
    work.deadline = absl::Now() - absl::Seconds(1);
    ASSERT_TRUE(queue.Submit(std::move(work)).ok());
    Work in_time = Counting(runs, drops);
    in_time.deadline = absl::Now() + absl::Hours(1);
    ASSERT_TRUE(queue.Submit(std::move(in_time)).ok());
  }
  EXPECT_TRUE(absl::IsDeadlineExceeded(dropped)) << dropped;
  EXPECT_EQ(runs, 1);
}

TEST(WorkQueue, DrainFinishesWhatWasAdmittedAndAdmitsNoMore) {
  std::atomic<int> runs = 0;
  std::atomic<int> drops = 0;
  WorkQueue queue(2, 100);
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(queue.Submit(Counting(runs, drops)).ok());
  }
  queue.Drain(absl::InfiniteFuture());
  EXPECT_EQ(runs, 60);
  EXPECT_EQ(drops, 0);
  const absl::Status late = queue.Submit(Counting(runs, drops));
  EXPECT_TRUE(absl::IsUnavailable(late)) << late;
  queue.Drain(absl::InfiniteFuture());  // again is harmless
  EXPECT_EQ(runs, 60);
}

TEST(WorkQueue, DrainDropsWhatHasNotStartedInTimeAndWaitsForWhatHas) {
  std::atomic<int> runs = 0;
  std::vector<absl::Status> dropped;
  std::atomic<bool> blocker_done = false;
  Blocker blocker;
  WorkQueue queue(1, 10);
  Work first = blocker.work();
  first.run = [&, run = first.run](absl::Duration queued) {
    run(queued);
    blocker_done = true;
  };
  ASSERT_TRUE(queue.Submit(std::move(first)).ok());
  blocker.WaitUntilItRuns();
  for (int i = 0; i < 3; ++i) {
    Work work;
    work.run = [&](absl::Duration) { ++runs; };
    work.drop = [&](absl::Status why) {
      dropped.push_back(std::move(why));
      if (dropped.size() == 3) blocker.Release();
    };
    ASSERT_TRUE(queue.Submit(std::move(work)).ok());
  }
  queue.Drain(absl::Now());
  EXPECT_TRUE(blocker_done);
  EXPECT_EQ(runs, 0);
  ASSERT_EQ(dropped.size(), 3);
  for (const absl::Status& why : dropped) {
    EXPECT_TRUE(absl::IsUnavailable(why)) << why;
  }
}

TEST(WorkQueue, ManyProducersGetOneAnswerForEachWork) {
  constexpr int kProducers = 6;
  constexpr int kEach = 400;
  std::atomic<int> runs = 0;
  std::atomic<int> drops = 0;
  std::atomic<int> refusals = 0;
  {
    WorkQueue queue(3, 8);
    std::vector<std::thread> producers;
    for (int p = 0; p < kProducers; ++p) {
      producers.emplace_back([&, p] {
        for (int i = 0; i < kEach; ++i) {
          Work work = Counting(runs, drops);
          if ((i + p) % 7 == 0) work.cancelled = [] { return true; };
          if (!queue.Submit(std::move(work)).ok()) ++refusals;
        }
      });
    }
    for (std::thread& producer : producers) producer.join();
  }
  EXPECT_EQ(runs + drops + refusals, kProducers * kEach);
}

TEST(WorkQueue, SubmittingWhileDrainingNeverLosesWork) {
  std::atomic<int> runs = 0;
  std::atomic<int> drops = 0;
  std::atomic<int> refusals = 0;
  constexpr int kEach = 300;
  WorkQueue queue(2, 16);
  std::vector<std::thread> producers;
  for (int p = 0; p < 3; ++p) {
    producers.emplace_back([&] {
      for (int i = 0; i < kEach; ++i) {
        if (!queue.Submit(Counting(runs, drops)).ok()) ++refusals;
      }
    });
  }
  queue.Drain(absl::Now() + absl::Milliseconds(1));
  for (std::thread& producer : producers) producer.join();
  EXPECT_EQ(runs + drops + refusals, 3 * kEach);
}

}  // namespace
}  // namespace octet::serving
