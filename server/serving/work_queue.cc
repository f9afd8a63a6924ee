#include "server/serving/work_queue.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "server/serving/why_stopped.h"

namespace octet::serving {
class WorkQueue::Impl {
 public:
  Impl(size_t workers, size_t capacity)
      : capacity_(std::max<size_t>(capacity, 1)) {
    const size_t threads = std::max<size_t>(workers, 1);
    threads_.reserve(threads);
    try {
      for (size_t i = 0; i < threads; ++i) {
        threads_.emplace_back([this] { Serve(); });
      }
    } catch (...) {  // the system starts no more
      Stop();
      throw;
    }
  }

  ~Impl() { Stop(); }

  absl::Status Submit(Work work) {
    std::lock_guard lock(mutex_);
    if (draining_) {
      return absl::UnavailableError("the server is shutting down");
    }
    if (waiting_.size() >= capacity_) {
      return absl::ResourceExhaustedError(
          "the queue is full: " + std::to_string(capacity_) +
          " requests are waiting; try again later");
    }
    waiting_.push_back({std::move(work), absl::Now()});
    wake_.notify_one();
    return absl::OkStatus();
  }

  void Drain(absl::Time deadline) {
    std::deque<Waiting> late;
    {
      std::unique_lock lock(mutex_);
      draining_ = true;
      wake_.notify_all();
      const auto idle = [this] { return Idle(); };
      if (!idle_.wait_until(lock, absl::ToChronoTime(deadline), idle)) {
        late.swap(waiting_);
      }
    }
    for (Waiting& item : late) {
      Drop(item.work, absl::UnavailableError("the server is shutting down"));
    }
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return Idle(); });
  }

 private:
  struct Waiting {
    Work work;
    absl::Time since;
  };

  void Stop() {
    Drain(absl::InfiniteFuture());
    for (std::thread& thread : threads_) thread.join();
  }

  bool Idle() const { return waiting_.empty() && running_ == 0; }

  // A worker's life: ends when the queue drains and nothing waits.
  void Serve() {
    while (true) {
      Waiting item;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return !waiting_.empty() || draining_; });
        if (waiting_.empty()) return;
        item = std::move(waiting_.front());
        waiting_.pop_front();
        ++running_;
      }
      Finish(item);
      item = {};  // what the callbacks hold is released before Drain returns
      std::lock_guard lock(mutex_);
      --running_;
      if (Idle()) idle_.notify_all();
    }
  }

  void Finish(const Waiting& item) {
    const Work& work = item.work;
    if (absl::Status why = WhyStopped(work.cancelled, work.deadline);
        !why.ok()) {
      return Drop(work, std::move(why));
    }
    work.run(absl::Now() - item.since);
  }

  static void Drop(const Work& work, absl::Status why) {
    if (work.drop) work.drop(std::move(why));
  }

  const size_t capacity_;
  std::mutex mutex_;              // guards what follows, but for the threads
  std::condition_variable wake_;  // work came, or the queue drains
  std::condition_variable idle_;  // nothing waits and nothing runs
  std::deque<Waiting> waiting_;
  size_t running_ = 0;
  bool draining_ = false;
  std::vector<std::thread> threads_;
};

WorkQueue::WorkQueue(size_t workers, size_t capacity)
    : impl_(std::make_unique<Impl>(workers, capacity)) {}

WorkQueue::~WorkQueue() = default;

absl::Status WorkQueue::Submit(Work work) {
  return impl_->Submit(std::move(work));
}

void WorkQueue::Drain(absl::Time deadline) { impl_->Drain(deadline); }

}  // namespace octet::serving
