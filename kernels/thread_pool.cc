#include "kernels/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "kernels/usable_cpus.h"

namespace octet::kernels {
namespace {

// Twice what waking a sleeping worker takes, so that looking out in vain costs
// no more than three wakings; longer than a model computes on one thread
// between two of its parallel operations.
constexpr auto kLookout = std::chrono::microseconds(50);

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Watches `event` for a moment: true as soon as it has come.
template <typename Event>
bool LookOut(const Event& event) {
  constexpr int kLooksPerClock = 16;  // reading the clock takes some 30 ns
  const auto end = std::chrono::steady_clock::now() + kLookout;
  do {
    for (int i = 0; i < kLooksPerClock; ++i) {
      if (event()) return true;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

// One ParallelFor: threads claim tasks by index until none is left.
struct Job {
  absl::FunctionRef<void(size_t)> body;
  size_t tasks;
  std::atomic<size_t> next = 0;

  // Changed under the pool's mutex; a helper that leaves touches the job no
  // more.
  std::atomic<size_t> helpers = 0;  // workers at its tasks
  Job* newer = nullptr;

  // False: none was left.
  bool RunTask() {
    const size_t task = next.fetch_add(1);
    if (task < tasks) body(task);
    return task < tasks;
  }

  bool HasUnclaimed() const { return next.load() < tasks; }
};

}  // namespace

// Workers look out for a job, or sleep until one is open, help with the oldest
// that still has unclaimed tasks as long as they may, and look out again. A job
// lives on its caller's stack, linked into the queue without allocation: it
// ends when no helper is inside any more.
class ThreadPool::Workers {
 public:
  explicit Workers(size_t count)
      : looks_out_(count < AffinityCpus()), allowed_(count) {
    threads_.reserve(count);
    try {
      for (size_t i = 0; i < count; ++i)
        threads_.emplace_back([this] { Loop(); });
    } catch (...) {  // the system starts no more
      Stop();
      throw;
    }
  }

  ~Workers() { Stop(); }

  uint64_t opened() const { return opened_.load(std::memory_order_relaxed); }
  size_t allowed() const { return allowed_.load(std::memory_order_relaxed); }

  void Allow(size_t workers) {
    allowed_.store(std::min(workers, threads_.size()),
                   std::memory_order_relaxed);
  }

  void Run(size_t tasks, absl::FunctionRef<void(size_t)> body) {
    Job job{body, tasks};
    size_t to_wake = 0;
    {
      const std::scoped_lock lock(mutex_);
      *LinkTo(nullptr) = &job;
      opened_.fetch_add(1, std::memory_order_relaxed);
      to_wake = std::min({tasks - 1, sleepers_, allowed()});
    }
    for (size_t i = 0; i < to_wake; ++i) wake_.notify_one();
    while (job.RunTask()) {
    }
    {
      const std::scoped_lock lock(mutex_);
      *LinkTo(&job) = job.newer;
    }
    const auto alone = [&] { return job.helpers.load() == 0; };
    if (looks_out_ && LookOut(alone)) return;
    std::unique_lock lock(mutex_);
    left_.wait(lock, alone);
  }

 private:
  void Stop() {
    {
      const std::scoped_lock lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  // The link that holds `job`; the last link for nullptr.
  Job** LinkTo(const Job* job) {
    Job** link = &oldest_;
    while (*link != job) link = &(*link)->newer;
    return link;
  }

  void Loop() {
    std::unique_lock lock(mutex_);
    while (Job* const job = NextJob(lock)) {
      ++job->helpers;
      ++helping_;
      lock.unlock();
      while (helping_ <= allowed() && job->RunTask()) {
      }
      lock.lock();
      --helping_;
      if (--job->helpers == 0) left_.notify_all();
    }
  }

  // nullptr when the pool stops. Lets go of the mutex while it waits. Who was
  // woken too late looks out again: the next job is often as short, and would
  // be over as early.
  Job* NextJob(std::unique_lock<std::mutex>& lock) {
    for (;;) {
      Job* job = Claimable();
      if (job == nullptr && !stopping_) {
        LookOutForJob(lock);
        job = Claimable();
      }
      if (job != nullptr || stopping_) return job;
      ++sleepers_;
      wake_.wait(lock);
      --sleepers_;
    }
  }

  void LookOutForJob(std::unique_lock<std::mutex>& lock) {
    if (!looks_out_ || helping_ >= allowed()) return;
    const uint64_t seen = opened_.load(std::memory_order_relaxed);
    lock.unlock();
    LookOut([&] { return opened_.load(std::memory_order_relaxed) != seen; });
    lock.lock();
  }

  Job* Claimable() const {
    if (helping_ >= allowed()) return nullptr;
    Job* job = oldest_;
    while (job != nullptr && !job->HasUnclaimed()) job = job->newer;
    return job;
  }

  const bool looks_out_;
  std::atomic<size_t> allowed_;      // workers that may help
  std::atomic<size_t> helping_ = 0;  // changed under the mutex
  std::mutex mutex_;
  std::condition_variable wake_;      // a job was opened, or the pool stops
  std::condition_variable left_;      // a helper left its job
  std::atomic<uint64_t> opened_ = 0;  // jobs ever; changed under the mutex
  size_t sleepers_ = 0;               // workers that wait for wake_
  Job* oldest_ = nullptr;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

ThreadPool::ThreadPool(size_t threads) {
  if (threads == 0) threads = UsableCpus();
  if (threads > 1) workers_ = std::make_unique<Workers>(threads - 1);
}

ThreadPool::~ThreadPool() = default;

size_t ThreadPool::threads() const {
  return workers_ == nullptr ? 1 : 1 + workers_->allowed();
}

void ThreadPool::LetHelp(size_t workers) {
  if (workers_ != nullptr) workers_->Allow(workers);
}

uint64_t ThreadPool::shared_calls() const {
  return workers_ == nullptr ? 0 : workers_->opened();
}

void ThreadPool::ParallelFor(size_t tasks,
                             absl::FunctionRef<void(size_t)> body) {
  if (tasks == 0) return;
  if (tasks == 1 || threads() == 1) {
    for (size_t i = 0; i < tasks; ++i) body(i);
    return;
  }
  workers_->Run(tasks, body);
}

}  // namespace octet::kernels
