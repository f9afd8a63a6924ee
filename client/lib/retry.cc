#include "client/lib/retry.h"

#include <algorithm>

#include "absl/strings/match.h"

namespace octet::client {

bool Backoff::Next(absl::Duration* wait) {
  if (attempts_ >= policy_.max_attempts) return false;
  absl::Duration whole = policy_.first;
  for (size_t i = 1; i < attempts_ && whole < policy_.longest; ++i) whole *= 2;
  ++attempts_;
  *wait = std::min(whole, policy_.longest) * absl::Uniform(random_, 0.5, 1.0);
  return true;
}

bool ConnectionBroke(const absl::Status& status) {
  // gRPC says UNAVAILABLE for a lost transport, and UNKNOWN or INTERNAL with
  // these words when the other side reset the stream.
  if (absl::IsUnavailable(status)) return true;
  const bool reset = absl::StrContains(status.message(), "RST_STREAM") ||
                     absl::StrContains(status.message(), "Stream removed");
  return reset && (absl::IsInternal(status) || absl::IsUnknown(status));
}

}  // namespace octet::client
