#include "server/serving/why_stopped.h"

#include "absl/time/clock.h"

namespace octet::serving {

namespace {

// By how much a client's deadline may be before the one that the server makes
// of its timeout: gRPC rounds that up, by up to 10 ms where it is below 10 s.
constexpr absl::Duration kClientsHaste = absl::Milliseconds(20);

}  // namespace

bool DeadlineEnded(absl::Time deadline, bool gone) {
  if (deadline == absl::InfiniteFuture()) return false;
  const absl::Duration left = deadline - absl::Now();
  return left <= (gone ? kClientsHaste : absl::ZeroDuration());
}

absl::Status WhyStopped(const std::function<bool()>& cancelled,
                        absl::Time deadline) {
  const bool gone = cancelled && cancelled();
  if (DeadlineEnded(deadline, gone)) {
    return absl::DeadlineExceededError(
        "the deadline passed before the request was computed");
  }
  if (gone) return absl::CancelledError("cancelled before it was computed");
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
