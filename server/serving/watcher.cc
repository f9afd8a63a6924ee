#include "server/serving/watcher.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <utility>

#include "absl/time/clock.h"
#include "kernels/status_macros.h"
#include "server/serving/loaded_model.h"
#include "server/serving/split_mix.h"

namespace octet::serving {
namespace {

constexpr absl::Duration kShortestPause = absl::Milliseconds(50);

struct Comparison {
  double sqnr_db = 0;  // infinite where they agree exactly
  double cosine = 1;
};

Comparison Compare(absl::Span<const float> answer,
                   absl::Span<const float> reference) {
  double squares = 0;
  double answer_squares = 0;
  double products = 0;
  double errors = 0;
  for (size_t i = 0; i < reference.size(); ++i) {
    const double a = answer[i];
    const double r = reference[i];
    squares += r * r;
    answer_squares += a * a;
    products += a * r;
    errors += (a - r) * (a - r);
  }
  Comparison result;
  result.sqnr_db = 10 * std::log10(squares / errors);
  if (errors == 0) result.sqnr_db = HUGE_VAL;
  const double norms = std::sqrt(squares) * std::sqrt(answer_squares);
  if (norms > 0) result.cosine = products / norms;
  return result;
}

using Outputs = absl::Span<const kernels::MatrixView<float>>;

size_t FloatsOf(Outputs outputs) {
  size_t floats = 0;
  for (const auto& output : outputs) floats += output.rows * output.cols;
  return floats;
}

model::ModelOutput CopyOf(Outputs outputs) {
  model::ModelOutput all;
  all.cols = outputs.front().cols;
  for (const auto& output : outputs) {
    all.rows += output.rows;
    all.values.insert(all.values.end(), output.data,
                      output.data + output.rows * output.cols);
  }
  return all;
}

}  // namespace

Watcher::Watcher(telemetry::Metrics* metrics)
    : metrics_(metrics), captures_(metrics), thread_([this] { Run(); }) {}

Watcher::~Watcher() {
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
    wake_.notify_all();
  }
  thread_.join();
}

void Watcher::Answered(const LoadedModel& model,
                       const model::ModelInputView& input,
                       model::OutputKind kind, Outputs outputs) {
  captures_.Offer(model, input);
  const Watch& watch = model.watch();
  const bool shadow = DrawShadow(watch);
  const bool drift = !watch.limits.empty() && DriftIsDue();
  if (!shadow && !drift) return;
  Sample sample;
  sample.model = model.weak_from_this();
  sample.kind = kind;
  sample.shadow = shadow;
  sample.drift = drift;
  sample.bytes =
      SizeOf(input).bytes + (shadow ? FloatsOf(outputs) * sizeof(float) : 0);
  Take(std::move(sample), model, [&](Sample* copy) {
    copy->input = LiveInput::Of(input);
    if (shadow) copy->output = CopyOf(outputs);
    return absl::OkStatus();
  });
}

void Watcher::Multiplied(const LoadedModel& model, const model::Linear& linear,
                         const FetchedRows& x) {
  captures_.Offer(model, linear, x);
  if (x.rows == 0 || !model.watch().limits.contains(linear.layer)) return;
  if (!DriftIsDue()) return;
  Sample sample;
  sample.model = model.weak_from_this();
  sample.drift = true;
  sample.bytes = SizeOf(x).bytes;
  Take(std::move(sample), model, [&](Sample* copy) -> absl::Status {
    ASSIGN_OR_RETURN(copy->input, LiveInput::Of(linear, x));
    return absl::OkStatus();
  });
}

bool Watcher::DriftIsDue() {
  int64_t due = drift_due_.load(std::memory_order_relaxed);
  if (absl::GetCurrentTimeNanos() < due) return false;
  // One request at a time; Look says when the next is due.
  return drift_due_.compare_exchange_strong(due, INT64_MAX,
                                            std::memory_order_relaxed);
}

bool Watcher::DrawShadow(const Watch& watch) {
  if (watch.reference == nullptr) return false;
  return UniformDraw(/*seed=*/0,
                     draws_.fetch_add(1, std::memory_order_relaxed)) <
         watch.shadow_rate;
}

bool Watcher::Keep(Sample& sample,
                   absl::FunctionRef<absl::Status(Sample*)> copy) {
  try {
    const bool copied = sample.bytes <= kMaxWaitingBytes && copy(&sample).ok();
    const std::scoped_lock lock(mutex_);
    if (!copied || waiting_.size() >= kMaxWaiting ||
        waiting_bytes_ + sample.bytes > kMaxWaitingBytes) {
      return false;
    }
    const size_t bytes = sample.bytes;
    waiting_.push_back(std::move(sample));
    waiting_bytes_ += bytes;
    wake_.notify_one();
    return true;
  } catch (const std::bad_alloc&) {
    return false;  // the request it is a copy of goes on
  }
}

void Watcher::Take(Sample sample, const LoadedModel& model,
                   absl::FunctionRef<absl::Status(Sample*)> copy) {
  if (Keep(sample, copy)) return;
  if (sample.drift) drift_due_.store(0, std::memory_order_relaxed);
  if (sample.shadow && metrics_ != nullptr) {
    metrics_->ShadowDropped(model.id());
  }
}

void Watcher::AwaitIdle() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return waiting_.empty() && !looking_; });
}

void Watcher::Run() {
  LowerPriority();
  CpuMeter cpu(metrics_);
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
    if (stop_) return;
    {
      const Sample sample = std::move(waiting_.front());
      waiting_.pop_front();
      waiting_bytes_ -= sample.bytes;
      looking_ = true;
      lock.unlock();
      Look(sample, cpu);
    }
    lock.lock();
    looking_ = false;
    if (waiting_.empty()) idle_.notify_all();
  }
}

void Watcher::Look(const Sample& sample, CpuMeter& cpu) {
  const std::shared_ptr<const LoadedModel> model = sample.model.lock();
  if (sample.drift) {
    const absl::Time start = absl::Now();
    if (model != nullptr) LookForDrift(*model, sample);
    ScheduleDrift(start);
    cpu.Charge("drift");
  }
  if (sample.shadow) {
    if (model != nullptr) CompareWithReference(*model, sample);
    cpu.Charge("shadow");
  }
}

void Watcher::LookForDrift(const LoadedModel& model, const Sample& sample) {
  DriftObserver observer(model.watch().limits);
  if (!sample.input.layer.empty()) {
    observer.OnRows(sample.input.layer, sample.input.rows());
  } else {
    model::RunOptions options;
    options.output = sample.kind;
    options.observer = &observer;
    if (!model.model().Forward(sample.input.inputs, options).ok()) return;
  }
  if (metrics_ == nullptr) return;
  for (const auto& [kind, drift] : observer.drift()) {
    metrics_->Drift(model.id(), kind, drift.range_ratios, drift.codes,
                    drift.saturated);
  }
}

void Watcher::ScheduleDrift(absl::Time start) {
  const absl::Time now = absl::Now();
  const absl::Duration pause =
      std::max((now - start) / kDriftShare, kShortestPause);
  drift_due_.store(absl::ToUnixNanos(now + pause), std::memory_order_relaxed);
}

void Watcher::CompareWithReference(const LoadedModel& model,
                                   const Sample& sample) {
  model::RunOptions options;
  options.output = sample.kind;
  const auto reference =
      model.watch().reference->Forward(sample.input.inputs, options);
  if (!reference.ok() ||
      reference->values.size() != sample.output.values.size()) {
    return;  // NaN that the server lets pass
  }
  const Comparison result = Compare(sample.output.values, reference->values);
  if (metrics_ != nullptr) {
    metrics_->ShadowCompared(model.id(), result.sqnr_db, result.cosine);
  }
}

}  // namespace octet::serving
