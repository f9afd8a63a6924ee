// What one client may have in flight, so that it cannot take the server from
// the others: calls (a stream is one) and bytes of requests and their answers.
//
// A client is a name (Security::ClientOf). Only those with something in flight
// are remembered, so the table is as large as the calls are many.

#ifndef OCTET_SERVER_RPC_CALLS_CLIENT_LIMITS_H_
#define OCTET_SERVER_RPC_CALLS_CLIENT_LIMITS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "server/telemetry/security_metrics.h"

namespace octet::rpc {

struct ClientLimitOptions {
  size_t calls = 1024;                 // 0: any number
  uint64_t bytes = uint64_t{1} << 30;  // 0: any number
};

class ClientLimits {
 public:
  ClientLimits(const ClientLimitOptions& options,
               telemetry::SecurityMetrics* metrics)
      : options_(options), metrics_(*metrics) {}

  // A call begins. RESOURCE_EXHAUSTED when the client has too many; then there
  // is nothing to leave.
  absl::Status Enter(const std::string& client);
  void Leave(const std::string& client);

  // A message of one of its calls was received, and is dealt with, or will be
  // answered by so many bytes; then `own` are held for the message already.
  // RESOURCE_EXHAUSTED when the client has too many bytes in flight; then there
  // is nothing to drop. Nothing is too large by itself: both have limits of
  // their own.
  absl::Status Hold(const std::string& client, uint64_t bytes,
                    uint64_t own = 0);
  void Drop(const std::string& client, uint64_t bytes);

 private:
  struct Usage {
    size_t calls = 0;
    uint64_t bytes = 0;
  };
  // Clients do not wait for each other's locks.
  static constexpr size_t kShards = 16;
  struct Shard {
    absl::Mutex mutex;
    std::unordered_map<std::string, Usage> clients ABSL_GUARDED_BY(mutex);
  };

  Shard& ShardOf(const std::string& client);

  const ClientLimitOptions options_;
  telemetry::SecurityMetrics& metrics_;
  std::array<Shard, kShards> shards_;
};

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_CALLS_CLIENT_LIMITS_H_
