#include "server/rpc/transport.h"

#include <memory>
#include <string>
#include <vector>

#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/impl/server_builder_option.h"
#include "grpcpp/impl/server_builder_plugin.h"
#include "grpcpp/resource_quota.h"
#include "grpcpp/server_builder.h"

namespace octet::rpc {
namespace {

// A client whose machine is gone holds its upload no longer than both.
constexpr absl::Duration kKeepalive = absl::Seconds(60);
constexpr absl::Duration kKeepaliveTimeout = absl::Seconds(20);
// A client may ask as often whether we are there; one that asks more often is
// disconnected (GOAWAY, too_many_pings).
constexpr absl::Duration kClientPings = absl::Seconds(10);
constexpr int kPingStrikes = 2;
// A connection that does not get as far as HTTP/2 settings, TLS included.
constexpr absl::Duration kHandshake = absl::Seconds(20);
// Threads of synchronous services, of which reflection is the only one; calls
// of all others run on gRPC's few callback threads.
constexpr int kMaxThreads = 32;

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(absl::ToInt64Milliseconds(duration));
}

// Whatever links gRPC's reflection has it switched on before main().
class WithoutReflection final : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments* /*arguments*/) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>*
                         plugins) override {
    const std::string name =
        grpc::reflection::ProtoServerReflectionPlugin().name();
    std::erase_if(*plugins, [&name](const auto& plugin) {
      return plugin->name() == name;
    });
  }
};

}  // namespace

void SetUp(const TransportOptions& options, bool reflection,
           grpc::ServerBuilder* builder) {
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  if (!reflection) {
    builder->SetOption(std::make_unique<WithoutReflection>());
  }
  const auto set = [builder](const char* name, int value) {
    builder->AddChannelArgument(name, value);
  };
  // Two servers must not share a port in silence.
  set(GRPC_ARG_ALLOW_REUSEPORT, 0);
  set(GRPC_ARG_MAX_CONCURRENT_STREAMS,
      static_cast<int>(options.streams_per_connection));
  set(GRPC_ARG_MAX_METADATA_SIZE, static_cast<int>(options.max_metadata_bytes));
  set(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(kKeepalive));
  set(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(kKeepaliveTimeout));
  set(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  set(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
      Milliseconds(kClientPings));
  set(GRPC_ARG_HTTP2_MAX_PING_STRIKES, kPingStrikes);
  set(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, Milliseconds(kHandshake));
  if (options.connection_idle > absl::ZeroDuration()) {
    set(GRPC_ARG_MAX_CONNECTION_IDLE_MS, Milliseconds(options.connection_idle));
  }
  if (options.connection_age > absl::ZeroDuration()) {
    // Calls in progress may end: an upload is one call.
    set(GRPC_ARG_MAX_CONNECTION_AGE_MS, Milliseconds(options.connection_age));
  }
  grpc::ResourceQuota quota("octet");
  quota.Resize(options.memory_bytes);
  quota.SetMaxThreads(kMaxThreads);
  builder->SetResourceQuota(quota);
}

}  // namespace octet::rpc
