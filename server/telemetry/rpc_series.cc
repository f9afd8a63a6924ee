#include "server/telemetry/rpc_series.h"

#include <algorithm>
#include <mutex>

#include "server/telemetry/buckets.h"
#include "server/telemetry/metrics.h"

namespace octet::telemetry {
namespace {

// By their numbers in gRPC.
constexpr std::array<std::string_view, kCodes> kCodeNames = {
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
};
constexpr size_t kUnknown = 2;

}  // namespace

prometheus::Counter& RpcSeries::Method::Requests(std::string_view code) const {
  const auto* found = std::find(kCodeNames.begin(), kCodeNames.end(), code);
  return found == kCodeNames.end() ? *requests[kUnknown]
                                   : *requests[found - kCodeNames.begin()];
}

RpcSeries::RpcSeries(prometheus::Registry& registry)
    : requests_(prometheus::BuildCounter()
                    .Name("octet_rpc_requests_total")
                    .Help("Calls answered, by canonical status code.")
                    .Register(registry)),
      duration_(prometheus::BuildHistogram()
                    .Name("octet_rpc_duration_seconds")
                    .Help("From a call's arrival to its answer.")
                    .Register(registry)),
      in_flight_(prometheus::BuildGauge()
                     .Name("octet_rpc_in_flight")
                     .Help("Calls that are not answered yet.")
                     .Register(registry)),
      message_bytes_(prometheus::BuildCounter()
                         .Name("octet_rpc_message_bytes_total")
                         .Help("Serialized messages, received and sent.")
                         .Register(registry)) {}

const RpcSeries::Method& RpcSeries::Find(std::string_view method) {
  {
    std::shared_lock lock(mutex_);
    const auto found = methods_.find(method);
    if (found != methods_.end()) return *found->second;
  }
  return Add(method);
}

const RpcSeries::Method& RpcSeries::Add(std::string_view method) {
  const std::string name(method);
  std::unique_lock lock(mutex_);
  std::unique_ptr<const Method>& slot = methods_[name];
  if (slot != nullptr) return *slot;  // another thread was first
  Method made{};
  for (size_t i = 0; i < kCodes; ++i) {
    made.requests[i] = &requests_.Add(
        {{"method", name}, {"code", std::string(kCodeNames[i])}});
  }
  made.duration = &duration_.Add({{"method", name}}, RpcBuckets());
  made.in_flight = &in_flight_.Add({{"method", name}});
  const auto bytes = [&](std::string_view direction) {
    return &message_bytes_.Add(
        {{"method", name}, {"direction", std::string(direction)}});
  };
  made.received = bytes(kReceived);
  made.sent = bytes(kSent);
  slot = std::make_unique<const Method>(made);
  return *slot;
}

}  // namespace octet::telemetry
