// For threads that work beside the requests: they take what CPU is left over,
// and say how much that was.

#ifndef OCTET_SERVER_SERVING_BACKGROUND_H_
#define OCTET_SERVER_SERVING_BACKGROUND_H_

#include <string_view>

#include "server/telemetry/metrics.h"

namespace octet::serving {

// Of the calling thread alone, to the lowest there is. What cannot be lowered
// stays.
void LowerPriority();

// CPU time of the thread that made it.
class CpuMeter {
 public:
  // `metrics` may be nullptr.
  explicit CpuMeter(telemetry::Metrics* metrics);

  // Counts what the thread took since the last Charge as that work's.
  void Charge(std::string_view work);

 private:
  telemetry::Metrics* const metrics_;
  double charged_ = 0;  // seconds
};

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_BACKGROUND_H_
