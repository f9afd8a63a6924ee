// What every call passes on its way in and out, whatever its service.

#ifndef OCTET_SERVER_RPC_CALLS_CALL_GATE_H_
#define OCTET_SERVER_RPC_CALLS_CALL_GATE_H_

#include <atomic>
#include <cstddef>

#include "server/rpc/calls/client_limits.h"
#include "server/rpc/calls/request_log.h"
#include "server/rpc/security/security.h"

namespace octet::rpc {

struct CallGate {
  CallGate(const Security* security, const ClientLimitOptions& limit_options,
           const RequestLogOptions& log_options,
           telemetry::SecurityMetrics* metrics)
      : security(*security), limits(limit_options, metrics), log(log_options) {}

  const Security& security;
  ClientLimits limits;
  RequestLog log;
  std::atomic<bool> draining = false;  // new requests are UNAVAILABLE
  std::atomic<size_t> in_flight = 0;   // calls, or messages of conversations
};

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_CALLS_CALL_GATE_H_
