#include "kernels/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"

namespace octet::kernels {
namespace {

// CPUs that a quota of `quota` in each `period` buys, rounded up.
std::optional<size_t> CpusOf(int64_t quota, int64_t period) {
  if (quota <= 0 || period <= 0) return std::nullopt;
  return static_cast<size_t>((quota + period - 1) / period);
}

std::optional<size_t> QuotaV2() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;  // a number, or "max"
  int64_t period = 0;
  if (!(file >> quota >> period) || quota == "max") return std::nullopt;
  return CpusOf(std::strtoll(quota.c_str(), nullptr, 10), period);
}

std::optional<size_t> QuotaV1() {
  std::ifstream quota_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream period_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  int64_t quota = 0;
  int64_t period = 0;
  if (!(quota_file >> quota) || !(period_file >> period)) return std::nullopt;
  return CpusOf(quota, period);
}

size_t AffinityCpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    return static_cast<size_t>(CPU_COUNT(&set));
  }
  return std::thread::hardware_concurrency();
}

// One ParallelFor: threads claim tasks by index until none is left.
struct Job {
  absl::FunctionRef<void(size_t)> body;
  size_t tasks;
  std::atomic<size_t> next = 0;

  // Guarded by the pool's mutex.
  size_t helpers = 0;  // workers inside RunTasks
  Job* newer = nullptr;

  void RunTasks() {
    for (size_t i = next.fetch_add(1); i < tasks; i = next.fetch_add(1)) {
      body(i);
    }
  }

  bool HasUnclaimed() const { return next.load() < tasks; }
};

}  // namespace

size_t UsableCpus() {
  size_t cpus = AffinityCpus();
  if (const auto quota = QuotaV2()) {
    cpus = std::min(cpus, *quota);
  } else if (const auto quota = QuotaV1()) {
    cpus = std::min(cpus, *quota);
  }
  return std::max<size_t>(cpus, 1);
}

// Workers sleep until a job is open, help with the oldest one that still has
// unclaimed tasks, and sleep again. A job lives on its caller's stack, linked
// into the queue without allocation: it ends when no helper is inside any more.
class ThreadPool::Workers {
 public:
  explicit Workers(size_t count) {
    threads_.reserve(count);
    for (size_t i = 0; i < count; ++i)
      threads_.emplace_back([this] { Loop(); });
  }

  ~Workers() {
    {
      const std::scoped_lock lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void Run(size_t tasks, absl::FunctionRef<void(size_t)> body) {
    Job job{body, tasks};
    {
      const std::scoped_lock lock(mutex_);
      *LinkTo(nullptr) = &job;
    }
    const size_t wanted = std::min(tasks - 1, threads_.size());
    for (size_t i = 0; i < wanted; ++i) wake_.notify_one();
    job.RunTasks();
    std::unique_lock lock(mutex_);
    *LinkTo(&job) = job.newer;
    left_.wait(lock, [&] { return job.helpers == 0; });
  }

 private:
  // The link that holds `job`; the last link for nullptr.
  Job** LinkTo(const Job* job) {
    Job** link = &oldest_;
    while (*link != job) link = &(*link)->newer;
    return link;
  }

  void Loop() {
    std::unique_lock lock(mutex_);
    while (true) {
      Job* job = nullptr;
      wake_.wait(lock, [&] { return stopping_ || (job = Claimable()); });
      if (job == nullptr) return;
      ++job->helpers;
      lock.unlock();
      job->RunTasks();
      lock.lock();
      if (--job->helpers == 0) left_.notify_all();
    }
  }

  Job* Claimable() const {
    Job* job = oldest_;
    while (job != nullptr && !job->HasUnclaimed()) job = job->newer;
    return job;
  }

  std::mutex mutex_;
  std::condition_variable wake_;  // a job was opened, or the pool stops
  std::condition_variable left_;  // a helper left its job
  Job* oldest_ = nullptr;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

ThreadPool::ThreadPool(size_t threads)
    : threads_(threads == 0 ? UsableCpus() : threads) {
  if (threads_ > 1) workers_ = std::make_unique<Workers>(threads_ - 1);
}

ThreadPool::~ThreadPool() = default;

void ThreadPool::ParallelFor(size_t tasks,
                             absl::FunctionRef<void(size_t)> body) {
  if (tasks == 0) return;
  if (tasks == 1 || workers_ == nullptr) {
    for (size_t i = 0; i < tasks; ++i) body(i);
    return;
  }
  workers_->Run(tasks, body);
}

}  // namespace octet::kernels
