#include "server/serving/why_stopped.h"

#include "absl/time/clock.h"

namespace octet::serving {

absl::Status WhyStopped(const std::function<bool()>& cancelled,
                        absl::Time deadline) {
  if (cancelled && cancelled()) {
    return absl::CancelledError("cancelled before it was computed");
  }
  if (deadline != absl::InfiniteFuture() && absl::Now() >= deadline) {
    return absl::DeadlineExceededError(
        "the deadline passed before the request was computed");
  }
  return absl::OkStatus();
}

absl::Status OutOfMemory() {
  return absl::ResourceExhaustedError("the server is out of memory");
}

void CountDropped(const absl::Status& why, const char* stage,
                  telemetry::Metrics* metrics) {
  if (metrics == nullptr) return;
  switch (why.code()) {
    case absl::StatusCode::kCancelled:
      return metrics->WorkDropped("cancelled", stage);
    case absl::StatusCode::kDeadlineExceeded:
      return metrics->WorkDropped("deadline_exceeded", stage);
    case absl::StatusCode::kUnavailable:
      return metrics->WorkDropped("shutdown", stage);
    default:
      return;
  }
}

}  // namespace octet::serving
