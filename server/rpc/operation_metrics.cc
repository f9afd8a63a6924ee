#include "server/rpc/operation_metrics.h"

#include "absl/time/clock.h"

namespace octet::rpc {

using quantization::Operation;
using quantization::OperationState;

namespace {

const char* Label(OperationState state) {
  switch (state) {
    case OperationState::kQueued:
      return "queued";
    case OperationState::kRunning:
      return "running";
    case OperationState::kSucceeded:
      return "succeeded";
    case OperationState::kFailed:
      return "failed";
    case OperationState::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

}  // namespace

OperationMetrics::OperationMetrics(quantization::Operations* operations,
                                   telemetry::Metrics* metrics)
    : metrics_(metrics) {
  {
    absl::MutexLock lock(&mutex_);
    for (const OperationState state :
         {OperationState::kQueued, OperationState::kRunning,
          OperationState::kSucceeded, OperationState::kFailed,
          OperationState::kCancelled}) {
      Count(state, 0);
    }
    for (const Operation& operation : operations->List()) {
      Count(operation.state, 1);
    }
  }
  operations->Subscribe(
      [this](const Operation& operation) { OnChange(operation); });
}

void OperationMetrics::OnChange(const Operation& operation) {
  absl::MutexLock lock(&mutex_);
  const auto old = active_.find(operation.id);
  if (old != active_.end()) {
    if (old->second == operation.state) return;  // progress only
    Count(old->second, -1);
    active_.erase(old);
  }
  Count(operation.state, 1);
  if (!operation.done()) {
    active_.emplace(operation.id, operation.state);
  } else {
    metrics_->QuantizationDone(
        absl::ToDoubleSeconds(operation.end_time - operation.create_time));
  }
}

void OperationMetrics::Count(OperationState state, int64_t change) {
  counts_[state] += change;
  metrics_->QuantizationJobs(Label(state), counts_[state]);
}

bool OperationMetrics::Idle() const {
  absl::MutexLock lock(&mutex_);
  return active_.empty();
}

}  // namespace octet::rpc
