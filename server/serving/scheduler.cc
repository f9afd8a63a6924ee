#include "server/serving/scheduler.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "kernels/cpu_features.h"
#include "kernels/registry.h"
#include "server/model/str_cat.h"
#include "server/serving/batch.h"
#include "server/serving/model_queue.h"
#include "server/serving/step_run.h"
#include "server/serving/why_stopped.h"

namespace octet::serving {
namespace {

// Dividing fewer rows between workers costs more than it gains: the weights are
// read by each.
constexpr size_t kLeastRows = 16;
// Work that one core does in less than this, at its kernel's full speed, stays
// on one thread even when others are idle: an encoder's pass is dozens of
// parallel operations, and where each takes well below 100 us, meeting after
// each of them costs what it gains.
constexpr uint64_t kAloneCycles = uint64_t{1} << 21;
// A full queue is searched for what nobody waits for any more, but no more
// often than this.
constexpr absl::Duration kSweepInterval = absl::Milliseconds(1);

absl::Status ShuttingDown() {
  return absl::UnavailableError("the server is shutting down");
}

SchedulerOptions Sane(SchedulerOptions options) {
  options.workers = std::max<size_t>(options.workers, 1);
  options.queue_requests = std::max<size_t>(options.queue_requests, 1);
  options.batch_rows = std::max<size_t>(options.batch_rows, 1);
  return options;
}

}  // namespace

class Scheduler::Impl {
 public:
  Impl(const SchedulerOptions& options, telemetry::Metrics* metrics)
      : options_(Sane(options)), metrics_(metrics) {
    if (metrics_ != nullptr) {
      metrics_->QueueCapacity(options_.queue_requests, options_.queue_rows);
      metrics_->Workers(options_.workers);
    }
    threads_.reserve(options_.workers);
    try {
      for (size_t i = 0; i < options_.workers; ++i) {
        threads_.emplace_back([this] { Serve(); });
      }
    } catch (...) {  // the system starts no more
      Stop();
      throw;
    }
  }

  ~Impl() { Stop(); }

  const SchedulerOptions& options() const { return options_; }

  absl::Status Submit(Step step) {
    Waiting waiting;
    waiting.step = std::make_shared<StepRun>(
        std::move(step), options_.allow_non_finite, metrics_);
    waiting.since = waiting.step->since();
    waiting.rest = {0, waiting.step->items(), 0, waiting.step->rows()};
    const std::string_view id = waiting.step->step().model->id();
    return Admit(id, std::move(waiting));
  }

  absl::Status Submit(Task task) {
    if (task.brief && TakeIdleWorker()) {
      Turned turned;
      turned.task = std::make_unique<Task>(std::move(task));
      turned.since = absl::Now();
      Run(std::move(turned));
      const std::scoped_lock lock(mutex_);
      EndTurn();
      return absl::OkStatus();
    }
    Waiting waiting;
    waiting.task = std::make_unique<Task>(std::move(task));
    waiting.since = absl::Now();
    const std::string_view id = waiting.task->model->id();
    return Admit(id, std::move(waiting));
  }

  void Drain(absl::Time deadline) {
    std::unique_lock lock(mutex_);
    draining_ = true;
    wake_.notify_all();
    const auto idle = [this] { return Idle(); };
    if (!idle_.wait_until(lock, absl::ToChronoTime(deadline), idle)) {
      for (auto& [id, queue] : queues_) {
        Discard(queue->TakeAll(), ShuttingDown());
        Changed(*queue);
      }
      DropDiscarded(lock);
    }
    idle_.wait(lock, idle);
  }

 private:
  using Queues =
      std::map<std::string, std::unique_ptr<ModelQueue>, std::less<>>;

  void Stop() {
    Drain(absl::InfiniteFuture());
    for (std::thread& thread : threads_) thread.join();
  }

  // Work that will not run, and why.
  struct Discarded {
    Waiting work;
    absl::Status why;
  };

  absl::Status Admit(std::string_view id, Waiting waiting) {
    std::unique_lock lock(mutex_);
    if (draining_) {
      Rejected("draining");
      return ShuttingDown();
    }
    ModelQueue& queue = QueueOf(id);
    if (IsFull(queue, waiting.rows())) Sweep(queue);
    if (IsFull(queue, waiting.rows())) {
      Rejected("queue_full");
      return absl::ResourceExhaustedError(model::StrCat(
          "the queue of model '", id, "' is full: ", queue.requests(),
          " requests of ", queue.rows(), " rows are waiting; try again later"));
    }
    if (queue.empty()) queue.StartAt(clock_);
    queue.Push(std::move(waiting));
    waiting_ += 1;
    Changed(queue);
    const bool wake = sleepers_ > 0;
    lock.unlock();
    if (wake) wake_.notify_one();
    return absl::OkStatus();
  }

  // In its place the caller works, until EndTurn. Nobody waits, so that it
  // takes nobody's share.
  bool TakeIdleWorker() {
    const std::scoped_lock lock(mutex_);
    if (draining_ || waiting_ > 0 || busy_ >= options_.workers) return false;
    StartTurn();
    return true;
  }

  // Both under the lock.
  void StartTurn() {
    ++busy_;
    LendIdleWorkers();
  }

  void EndTurn() {
    --busy_;
    LendIdleWorkers();
    if (Idle()) idle_.notify_all();
  }

  // The pool has a thread for each of them but one, which compute what busy
  // workers share out.
  void LendIdleWorkers() {
    if (options_.pool == nullptr) return;
    options_.pool->LetHelp(std::max(options_.workers, busy_) - busy_);
  }

  ModelQueue& QueueOf(std::string_view id) {
    const auto found = queues_.find(id);
    if (found != queues_.end()) return *found->second;
    // Models come and go: queues that owe nothing are forgotten.
    std::erase_if(queues_, [this](const auto& entry) {
      const ModelQueue& queue = *entry.second;
      return queue.empty() && (Idle() || queue.paid() <= clock_);
    });
    const std::string name(id);
    return *(queues_[name] = std::make_unique<ModelQueue>(name));
  }

  bool IsFull(const ModelQueue& queue, size_t rows) const {
    if (queue.empty()) return false;
    return queue.requests() >= options_.queue_requests ||
           queue.rows() + rows > options_.queue_rows;
  }

  // Room for those that are waited for.
  void Sweep(ModelQueue& queue) {
    const absl::Time now = absl::Now();
    if (now - swept_ < kSweepInterval) return;
    swept_ = now;
    std::vector<Waiting> stopped = queue.TakeStopped();
    if (stopped.empty()) return;
    waiting_ -= stopped.size();
    for (Waiting& work : stopped) {
      absl::Status why = work.WhyStop();
      discarded_.push_back({std::move(work), std::move(why)});
    }
    Changed(queue);
    wake_.notify_one();
  }

  void Discard(std::vector<Waiting> all, const absl::Status& why) {
    waiting_ -= all.size();
    for (Waiting& work : all) discarded_.push_back({std::move(work), why});
  }

  bool Idle() const {
    return waiting_ == 0 && discarded_.empty() && busy_ == 0;
  }

  // A worker's life: ends when the scheduler drains and nothing waits.
  void Serve() {
    std::unique_lock lock(mutex_);
    while (true) {
      if (!discarded_.empty()) {
        DropDiscarded(lock);
        continue;
      }
      absl::Time ready = absl::InfiniteFuture();
      ModelQueue* const queue = Next(&ready);
      if (queue != nullptr) {
        TakeTurn(*queue, lock);
      } else if (draining_) {
        return;
      } else {
        Sleep(ready, lock);
      }
    }
  }

  void Sleep(absl::Time until, std::unique_lock<std::mutex>& lock) {
    ++sleepers_;
    if (until == absl::InfiniteFuture()) {
      wake_.wait(lock);
    } else {
      wake_.wait_until(lock, absl::ToChronoTime(until));
    }
    --sleepers_;
  }

  // The queue whose turn it is; none: `ready` is when there will be one if
  // nothing else comes.
  ModelQueue* Next(absl::Time* ready) const {
    ModelQueue* next = nullptr;
    for (const auto& [id, queue] : queues_) {
      if (queue->empty()) continue;
      if (const absl::Time at = ReadyAt(*queue); at > absl::InfinitePast()) {
        *ready = std::min(*ready, at);
        continue;
      }
      if (next == nullptr || queue->paid() < next->paid()) next = queue.get();
    }
    return next;
  }

  // InfinitePast: now.
  absl::Time ReadyAt(const ModelQueue& queue) const {
    if (options_.batch_wait == absl::ZeroDuration() || draining_ ||
        queue.tasks() > 0 || queue.rows() >= options_.batch_rows) {
      return absl::InfinitePast();
    }
    const absl::Time at = queue.OldestSince() + options_.batch_wait;
    return at <= absl::Now() ? absl::InfinitePast() : at;
  }

  // Idle workers divide what waits. A brief task may work in place of the one
  // that asks.
  size_t BudgetFor(const ModelQueue& queue) const {
    const size_t idle = std::max(options_.workers, busy_ + 1) - busy_;
    const size_t share = (queue.rows() + idle - 1) / idle;
    return std::min(options_.batch_rows, std::max(kLeastRows, share));
  }

  void TakeTurn(ModelQueue& queue, std::unique_lock<std::mutex>& lock) {
    const size_t requests = queue.requests();
    clock_ = std::max(clock_, queue.paid());
    Turned turned = queue.Take(BudgetFor(queue));
    waiting_ -= requests - queue.requests();
    StartTurn();
    Changed(queue);
    const bool wake = waiting_ > 0 && sleepers_ > 0;
    lock.unlock();
    if (wake) wake_.notify_one();
    Run(std::move(turned));
    lock.lock();
    EndTurn();
  }

  void DropDiscarded(std::unique_lock<std::mutex>& lock) {
    std::vector<Discarded> discarded = std::exchange(discarded_, {});
    StartTurn();
    lock.unlock();
    for (const Discarded& each : discarded) {
      each.work.Drop(each.why, metrics_);
    }
    discarded.clear();  // what callbacks hold is released before Drain returns
    lock.lock();
    EndTurn();
  }

  void Run(Turned turned) {
    const absl::Time start = absl::Now();
    if (turned.task != nullptr) {
      RunTask(*turned.task, start - turned.since);
    } else {
      const BatchOptions how = {IsLarge(turned) ? options_.pool : nullptr,
                                options_.allow_non_finite};
      RunBatch(std::move(turned.pieces), how);
    }
    if (metrics_ == nullptr) return;
    metrics_->WorkerBusy(absl::ToDoubleSeconds(absl::Now() - start));
  }

  bool IsLarge(const Turned& turned) const {
    uint64_t products = 0;
    for (const Piece& piece : turned.pieces) {
      products +=
          piece.range.rows * piece.run->step().model->multiply_adds_per_row();
    }
    return products >= kAloneCycles * products_per_cycle_;
  }

  void RunTask(const Task& task, absl::Duration queued) const {
    if (absl::Status why = WhyStopped(task.cancelled, task.deadline);
        !why.ok()) {
      CountDropped(why, "queue", metrics_);
      return task.drop(why);
    }
    task.run({queued, options_.pool});
  }

  void Rejected(const char* reason) {
    if (metrics_ != nullptr) metrics_->WorkRejected(reason);
  }

  // Under the lock, so that an older depth never overwrites a newer one.
  void Changed(const ModelQueue& queue) {
    if (metrics_ == nullptr) return;
    metrics_->QueueDepth(queue.id(), queue.requests(), queue.rows());
  }

  const SchedulerOptions options_;
  const uint64_t products_per_cycle_ =
      kernels::SelectKernel(kernels::HostFeatures()).products_per_cycle;
  telemetry::Metrics* const metrics_;
  std::mutex mutex_;              // guards what follows, but for the threads
  std::condition_variable wake_;  // work came, or the scheduler drains
  std::condition_variable idle_;  // nothing waits and nothing runs
  Queues queues_;
  size_t waiting_ = 0;  // in all queues
  std::vector<Discarded> discarded_;
  double clock_ = 0;  // what the queue that was served last had paid
  absl::Time swept_ = absl::InfinitePast();
  size_t busy_ = 0;
  size_t sleepers_ = 0;
  bool draining_ = false;
  std::vector<std::thread> threads_;
};

Scheduler::Scheduler(const SchedulerOptions& options,
                     telemetry::Metrics* metrics)
    : impl_(std::make_unique<Impl>(options, metrics)) {}

Scheduler::~Scheduler() = default;

absl::Status Scheduler::Submit(Step step) {
  return impl_->Submit(std::move(step));
}

absl::Status Scheduler::Submit(Task task) {
  return impl_->Submit(std::move(task));
}

const SchedulerOptions& Scheduler::options() const { return impl_->options(); }

void Scheduler::Drain(absl::Time deadline) { impl_->Drain(deadline); }

}  // namespace octet::serving
