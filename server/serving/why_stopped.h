// Why admitted work is not done after all.

#ifndef OCTET_SERVER_SERVING_WHY_STOPPED_H_
#define OCTET_SERVER_SERVING_WHY_STOPPED_H_

#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/telemetry/metrics.h"

namespace octet::serving {

// Whether the deadline is what ended a request. A client counts its own time
// and gives up at the end of it, so that one who is `gone` right before the
// server's deadline had the same one.
bool DeadlineEnded(absl::Time deadline, bool gone);

// CANCELLED or DEADLINE_EXCEEDED; OK while the work is still wanted.
absl::Status WhyStopped(const std::function<bool()>& cancelled,
                        absl::Time deadline);

// RESOURCE_EXHAUSTED.
absl::Status OutOfMemory();

// Counts work that ended with CANCELLED, DEADLINE_EXCEEDED or UNAVAILABLE, and
// nothing else. `stage` is "queue" or "compute"; `metrics` may be nullptr.
void CountDropped(const absl::Status& why, const char* stage,
                  telemetry::Metrics* metrics);

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_WHY_STOPPED_H_
