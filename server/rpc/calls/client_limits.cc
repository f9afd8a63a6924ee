#include "server/rpc/calls/client_limits.h"

#include <functional>

#include "absl/time/time.h"
#include "server/model/str_cat.h"
#include "server/rpc/calls/status.h"

namespace octet::rpc {
namespace {

// Others wait less for it than it does for itself.
constexpr absl::Duration kRetryDelay = absl::Milliseconds(200);

absl::Status TooMuch(const std::string& client, std::string_view what,
                     uint64_t limit) {
  return RetryAfter(kRetryDelay,
                    absl::ResourceExhaustedError(model::StrCat(
                        "client '", client, "' has ", limit, " ", what,
                        " in flight, which is what one client may have")));
}

}  // namespace

ClientLimits::Shard& ClientLimits::ShardOf(const std::string& client) {
  return shards_[std::hash<std::string>()(client) % kShards];
}

absl::Status ClientLimits::Enter(const std::string& client) {
  Shard& shard = ShardOf(client);
  {
    absl::MutexLock lock(&shard.mutex);
    Usage& usage = shard.clients[client];
    if (options_.calls == 0 || usage.calls < options_.calls) {
      ++usage.calls;
      return absl::OkStatus();
    }
  }
  metrics_.ClientLimited("calls");
  return TooMuch(client, "calls", options_.calls);
}

void ClientLimits::Leave(const std::string& client) {
  Shard& shard = ShardOf(client);
  absl::MutexLock lock(&shard.mutex);
  const auto found = shard.clients.find(client);
  if (--found->second.calls == 0) shard.clients.erase(found);
}

absl::Status ClientLimits::Hold(const std::string& client, uint64_t bytes,
                                uint64_t own) {
  Shard& shard = ShardOf(client);
  {
    absl::MutexLock lock(&shard.mutex);
    Usage& usage = shard.clients[client];
    if (options_.bytes == 0 || usage.bytes == own ||
        usage.bytes + bytes <= options_.bytes) {
      usage.bytes += bytes;
      return absl::OkStatus();
    }
  }
  metrics_.ClientLimited("bytes");
  return TooMuch(client, "bytes of requests and answers", options_.bytes);
}

void ClientLimits::Drop(const std::string& client, uint64_t bytes) {
  Shard& shard = ShardOf(client);
  absl::MutexLock lock(&shard.mutex);
  shard.clients[client].bytes -= bytes;
}

}  // namespace octet::rpc
