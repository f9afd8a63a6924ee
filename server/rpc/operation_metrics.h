// Counts operations by state for the metrics, and knows when all are done.

#ifndef OCTET_SERVER_RPC_OPERATION_METRICS_H_
#define OCTET_SERVER_RPC_OPERATION_METRICS_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/quantization/job/operations.h"
#include "server/telemetry/metrics.h"

namespace octet::rpc {

class OperationMetrics {
 public:
  // `operations` must not outlive this. Operations of earlier processes are
  // counted as what they ended as.
  OperationMetrics(quantization::Operations* operations,
                   telemetry::Metrics* metrics);

  // Whether nothing is queued or running.
  bool Idle() const;

 private:
  void OnChange(const quantization::Operation& operation);
  void Count(quantization::OperationState state, int64_t change)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  telemetry::Metrics* const metrics_;
  mutable absl::Mutex mutex_;
  std::map<quantization::OperationState, int64_t> counts_
      ABSL_GUARDED_BY(mutex_);
  // State of those that are not done.
  std::map<std::string, quantization::OperationState> active_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_OPERATION_METRICS_H_
