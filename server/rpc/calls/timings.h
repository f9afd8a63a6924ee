// Where the time of an inference call went, as trailing metadata says it to
// clients of any protocol (octet.v1 says it in its messages, too):
//
//   server-timing: queue;dur=0.012, quantize;dur=0.161, dot;dur=1.204,
//                  dequantize;dur=0.094, outlier;dur=0.000, total;dur=1.871
//
// in milliseconds, on one line (https://www.w3.org/TR/server-timing). queue is
// the time until the computation began; the phases are CPU time of the INT8
// linears, in a batch the share of the call's rows; total ends with the answer.

#ifndef OCTET_SERVER_RPC_CALLS_TIMINGS_H_
#define OCTET_SERVER_RPC_CALLS_TIMINGS_H_

#include <string>

#include "absl/time/time.h"
#include "grpcpp/server_context.h"
#include "kernels/phase_clock.h"

namespace octet::rpc {

inline constexpr char kServerTiming[] = "server-timing";

struct CallTimes {
  absl::Duration queue = absl::ZeroDuration();
  kernels::PhaseTimes phases = {};
  absl::Duration total = absl::ZeroDuration();
};

// The value of the metadata.
std::string ServerTiming(const CallTimes& times);

// Before the call is finished.
void AddServerTiming(const CallTimes& times,
                     grpc::CallbackServerContext* context);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_CALLS_TIMINGS_H_
