#include "server/serving/capture_queue.h"

#include <algorithm>
#include <new>
#include <utility>

#include "absl/time/clock.h"
#include "server/serving/background.h"
#include "server/serving/loaded_model.h"
#include "server/serving/split_mix.h"

namespace octet::serving {

CaptureQueue::CaptureQueue(telemetry::Metrics* metrics)
    : metrics_(metrics), thread_([this] { Run(); }) {}

CaptureQueue::~CaptureQueue() {
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
    wake_.notify_all();
  }
  thread_.join();
}

bool CaptureQueue::Start(Capture capture) {
  const std::scoped_lock lock(mutex_);
  const std::string model = capture.model;
  const auto [running, is_new] =
      running_.try_emplace(model, Running{.capture = std::move(capture)});
  if (!is_new) return false;
  running_count_ = running_.size();
  wake_.notify_all();  // its end may be the next
  return true;
}

void CaptureQueue::Stop(const CaptureSink& sink) {
  std::unique_lock lock(mutex_);
  const auto running = Find(sink);
  if (running == running_.end()) return;
  End(CaptureEnd::kStopped, running->second);
  changed_.wait(lock, [&] { return Find(sink) == running_.end(); });
}

void CaptureQueue::Unloaded(std::string_view model) {
  const std::scoped_lock lock(mutex_);
  const auto running = running_.find(model);
  if (running == running_.end()) return;
  End(CaptureEnd::kUnloaded, running->second);
}

void CaptureQueue::OfferDrawn(
    const LoadedModel& model, InputSize size,
    absl::FunctionRef<absl::StatusOr<LiveInput>()> copy) {
  std::shared_ptr<CaptureSink> sink = Draw(model, size);
  if (sink == nullptr) return;
  try {
    absl::StatusOr<LiveInput> input = copy();
    if (!input.ok()) sink->Dropped(size.samples);
    const std::scoped_lock lock(mutex_);
    if (input.ok() && Find(*sink) != running_.end()) {
      waiting_.push_back(
          {.sink = sink, .input = *std::move(input), .bytes = size.bytes});
      wake_.notify_all();
      return;
    }  // else it ended meanwhile
  } catch (const std::bad_alloc&) {  // the request it is a copy of goes on
    sink->Dropped(size.samples);
  }
  const std::scoped_lock lock(mutex_);
  waiting_bytes_ -= size.bytes;
}

std::shared_ptr<CaptureSink> CaptureQueue::Draw(const LoadedModel& model,
                                                InputSize size) {
  const std::scoped_lock lock(mutex_);
  const auto found = running_.find(model.id());
  if (found == running_.end() || found->second.end) return nullptr;
  Running& running = found->second;
  if (model.input_shape() != running.capture.input_shape) {
    End(CaptureEnd::kOtherModel, running);
    return nullptr;
  }
  if (size.samples == 0 ||
      UniformDraw(/*seed=*/0, running.draws++) >= running.capture.rate) {
    return nullptr;
  }
  if (waiting_bytes_ + size.bytes > kMaxWaitingBytes) {
    running.capture.sink->Dropped(size.samples);
    return nullptr;
  }
  waiting_bytes_ += size.bytes;
  return running.capture.sink;
}

void CaptureQueue::AwaitIdle() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return waiting_.empty() && !taking_; });
}

CaptureQueue::ByModel::iterator CaptureQueue::Find(const CaptureSink& sink) {
  return std::find_if(running_.begin(), running_.end(), [&](const auto& item) {
    return item.second.capture.sink.get() == &sink;
  });
}

CaptureQueue::ByModel::iterator CaptureQueue::NextToEnd() {
  const absl::Time now = absl::Now();
  return std::find_if(running_.begin(), running_.end(), [&](auto& item) {
    Running& running = item.second;
    if (!running.end && running.capture.end <= now) {
      running.end = CaptureEnd::kTime;
    }
    return running.end.has_value();
  });
}

absl::Time CaptureQueue::NextEnd() const {
  absl::Time next = absl::InfiniteFuture();
  for (const auto& [model, running] : running_) {
    next = std::min(next, running.capture.end);
  }
  return next;
}

void CaptureQueue::End(CaptureEnd why, Running& running) {
  if (!running.end) running.end = why;
  wake_.notify_all();
}

void CaptureQueue::Forget(const CaptureSink& sink) {
  std::erase_if(waiting_, [&](const Waiting& waiting) {
    if (waiting.sink.get() != &sink) return false;
    waiting_bytes_ -= waiting.bytes;
    return true;
  });
}

void CaptureQueue::Run() {
  LowerPriority();
  CpuMeter cpu(metrics_);
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (const auto ending = NextToEnd(); ending != running_.end()) {
      TellEnd(ending, lock);
    } else if (!waiting_.empty()) {
      TakeOne(lock);
    } else if (const absl::Time next = NextEnd();
               next == absl::InfiniteFuture()) {
      wake_.wait(lock);
      continue;
    } else {
      wake_.wait_until(lock, absl::ToChronoTime(next));
      continue;
    }
    cpu.Charge("capture");
    changed_.notify_all();
  }
}

void CaptureQueue::TellEnd(ByModel::iterator ending,
                           std::unique_lock<std::mutex>& lock) {
  const std::shared_ptr<CaptureSink> sink = ending->second.capture.sink;
  const CaptureEnd why = *ending->second.end;
  lock.unlock();
  sink->Ended(why);
  lock.lock();
  Forget(*sink);
  running_.erase(ending);
  running_count_ = running_.size();
}

void CaptureQueue::TakeOne(std::unique_lock<std::mutex>& lock) {
  Waiting next = std::move(waiting_.front());
  waiting_.pop_front();
  waiting_bytes_ -= next.bytes;
  taking_ = true;
  lock.unlock();
  const bool more = next.sink->Take(std::move(next.input));
  lock.lock();
  taking_ = false;
  // Nothing but this thread ends a capture for good: it still runs.
  if (!more) End(CaptureEnd::kFull, Find(*next.sink)->second);
}

}  // namespace octet::serving
