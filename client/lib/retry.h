// How long to wait before trying again, and when to give up.
//
//   wait(n) = min(first * 2^n, longest) * uniform(0.5, 1)
//
// The random factor keeps many clients from coming back at the same moment.

#ifndef OCTET_CLIENT_LIB_RETRY_H_
#define OCTET_CLIENT_LIB_RETRY_H_

#include <cstddef>

#include "absl/random/random.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

namespace octet::client {

struct RetryPolicy {
  size_t max_attempts = 6;  // without progress, the first one included
  absl::Duration first = absl::Milliseconds(200);
  absl::Duration longest = absl::Seconds(10);
};

// Counts attempts; progress makes it start over.
class Backoff {
 public:
  explicit Backoff(RetryPolicy policy) : policy_(policy) {}

  // False once the attempts are used up; else `*wait` says how long to sleep.
  bool Next(absl::Duration* wait);
  void Progressed() { attempts_ = 1; }

 private:
  RetryPolicy policy_;
  size_t attempts_ = 1;
  absl::BitGen random_;
};

// Whether the connection is to blame and the same call may succeed later.
bool ConnectionBroke(const absl::Status& status);

}  // namespace octet::client

#endif  // OCTET_CLIENT_LIB_RETRY_H_
