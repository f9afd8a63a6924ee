#include "kernels/thread_pool.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/usable_cpus.h"

namespace octet::kernels {
namespace {

TEST(ThreadPool, RunsEveryTaskOnce) {
  for (const size_t threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const size_t tasks : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(tasks);
      pool.ParallelFor(tasks, [&](size_t i) { ++runs[i]; });
      for (size_t i = 0; i < tasks; ++i) ASSERT_EQ(runs[i], 1) << i;
    }
  }
}

TEST(ThreadPool, ReturnsOnlyWhenAllTasksAreDone) {
  ThreadPool pool(4);
  for (int round = 0; round < 2000; ++round) {
    std::vector<int> results(5, 0);  // not atomic: the return orders them
    pool.ParallelFor(5,
                     [&](size_t i) { results[i] = static_cast<int>(i) + 1; });
    ASSERT_EQ(results, (std::vector<int>{1, 2, 3, 4, 5}));
  }
}

TEST(ThreadPool, ServesSeveralCallersAtOnce) {
  ThreadPool pool(3);
  std::vector<std::thread> callers;
  std::vector<size_t> sums(6, 0);
  for (size_t c = 0; c < sums.size(); ++c) {
    callers.emplace_back([&, c] {
      for (int round = 0; round < 300; ++round) {
        std::atomic<size_t> sum = 0;
        pool.ParallelFor(c + 2, [&](size_t i) { sum += i + 1; });
        sums[c] += sum;
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (size_t c = 0; c < sums.size(); ++c) {
    EXPECT_EQ(sums[c], 300 * (c + 2) * (c + 3) / 2) << c;
  }
}

// Jobs that come while workers look out, while they fall asleep, and when they
// have slept for long.
TEST(ThreadPool, FindsItsWorkersAwakeOrAsleep) {
  ThreadPool pool(2);
  for (const int pause_us : {0, 20, 50, 80, 1000}) {
    for (int round = 0; round < 50; ++round) {
      std::vector<int> results(2, 0);
      pool.ParallelFor(2, [&](size_t i) { results[i] = round; });
      ASSERT_EQ(results, (std::vector<int>{round, round})) << pause_us;
      std::this_thread::sleep_for(std::chrono::microseconds(pause_us));
    }
  }
}

// Both tasks wait until the other has begun, which one thread can not do.
bool TwoThreadsMeet(ThreadPool& pool) {
  std::mutex mutex;
  std::condition_variable came;
  int here = 0;
  int met = 0;
  pool.ParallelFor(2, [&](size_t) {
    std::unique_lock lock(mutex);
    ++here;
    came.notify_all();
    met += came.wait_for(lock, std::chrono::seconds(30),
                         [&] { return here == 2; });
  });
  return met == 2;
}

// A pool of more threads than CPUs never looks out.
TEST(ThreadPool, WorkersHelpAwakeOrAsleep) {
  for (const size_t threads : {size_t{2}, AffinityCpus() + 1}) {
    ThreadPool pool(threads);
    for (const int pause_us : {0, 20, 50, 80, 1000}) {
      for (int round = 0; round < 20; ++round) {
        ASSERT_TRUE(TwoThreadsMeet(pool)) << threads << " " << pause_us;
        std::this_thread::sleep_for(std::chrono::microseconds(pause_us));
      }
    }
  }
}

TEST(ThreadPool, WorkersHelpAgainWhenTheyMay) {
  ThreadPool pool(2);
  for (int round = 0; round < 20; ++round) {
    pool.LetHelp(0);
    pool.ParallelFor(2, [](size_t) {});
    pool.LetHelp(1);
    ASSERT_TRUE(TwoThreadsMeet(pool)) << round;
  }
}

TEST(ThreadPool, OneTaskStaysOnTheCallingThread) {
  ThreadPool pool(3);
  for (int round = 0; round < 100; ++round) {
    std::thread::id id;
    pool.ParallelFor(1, [&](size_t) { id = std::this_thread::get_id(); });
    ASSERT_EQ(id, std::this_thread::get_id());
  }
}

TEST(ThreadPool, OnlyThoseThatMayHelpDo) {
  ThreadPool pool(3);
  pool.LetHelp(0);
  EXPECT_EQ(pool.threads(), 1);
  for (int round = 0; round < 100; ++round) {
    pool.ParallelFor(8, [id = std::this_thread::get_id()](size_t) {
      EXPECT_EQ(std::this_thread::get_id(), id);
    });
  }
  EXPECT_EQ(pool.shared_calls(), 0);
  pool.LetHelp(1);
  EXPECT_EQ(pool.threads(), 2);
  pool.LetHelp(9);
  EXPECT_EQ(pool.threads(), 3);
}

// It may have looked whether it may just before it no longer may.
TEST(ThreadPool, AHelperLeavesAfterTheTaskItIsAt) {
  ThreadPool pool(2);
  const std::thread::id caller = std::this_thread::get_id();
  for (int round = 0; round < 20; ++round) {
    pool.LetHelp(1);
    std::atomic<bool> enough = false;
    std::atomic<int> late = 0;
    pool.ParallelFor(200, [&](size_t i) {
      if (enough && std::this_thread::get_id() != caller) ++late;
      std::this_thread::sleep_for(std::chrono::microseconds(20));
      if (i != 20) return;
      pool.LetHelp(0);
      enough = true;
    });
    EXPECT_LE(late, 1);
  }
}

TEST(ThreadPool, RunsEveryTaskOnceWhoeverMayHelp) {
  ThreadPool pool(3);
  std::atomic<bool> done = false;
  std::thread owner([&] {
    for (size_t i = 0; !done; ++i) pool.LetHelp(i % 3);
  });
  for (int round = 0; round < 2000; ++round) {
    std::vector<int> results(7, 0);
    pool.ParallelFor(7, [&](size_t i) { ++results[i]; });
    ASSERT_EQ(results, std::vector<int>(7, 1));
  }
  done = true;
  owner.join();
}

}  // namespace
}  // namespace octet::kernels
