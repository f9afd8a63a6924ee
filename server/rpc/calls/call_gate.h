// What every call passes on its way in and out, whatever its service.

#ifndef OCTET_SERVER_RPC_CALLS_CALL_GATE_H_
#define OCTET_SERVER_RPC_CALLS_CALL_GATE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "server/rpc/calls/client_limits.h"
#include "server/rpc/calls/request_log.h"
#include "server/rpc/security/security.h"

namespace octet::rpc {

// From the first call that may come to the last.
enum class Phase : uint8_t {
  kStarting,  // requests are UNAVAILABLE
  kServing,
  kLeaving,   // not ready for more, but requests are served
  kStopping,  // new requests are UNAVAILABLE
};

struct CallGate {
  CallGate(const Security* security, const ClientLimitOptions& limit_options,
           uint64_t max_answer_bytes, const RequestLogOptions& log_options,
           telemetry::SecurityMetrics* metrics)
      : security(*security),
        max_answer_bytes(max_answer_bytes),
        limits(limit_options, metrics),
        log(log_options) {}

  const Security& security;
  const uint64_t max_answer_bytes;  // of one request
  ClientLimits limits;
  RequestLog log;
  std::atomic<Phase> phase = Phase::kStarting;
  std::atomic<size_t> in_flight = 0;  // calls, or messages of conversations
};

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_CALLS_CALL_GATE_H_
