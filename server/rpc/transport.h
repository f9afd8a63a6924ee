// What gRPC itself is told to bound: streams, headers, memory, connections.

#ifndef OCTET_SERVER_RPC_TRANSPORT_H_
#define OCTET_SERVER_RPC_TRANSPORT_H_

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace grpc {
class ServerBuilder;
}

namespace octet::rpc {

struct TransportOptions {
  size_t streams_per_connection = 1024;             // calls at once; more wait
  size_t max_metadata_bytes = size_t{16} << 10;     // headers of one call
  uint64_t memory_bytes = uint64_t{4} << 30;        // gRPC's own buffers
  absl::Duration connection_idle = absl::Hours(1);  // then closed; 0: never
  absl::Duration connection_age = absl::ZeroDuration();  // likewise
};

void SetUp(const TransportOptions& options, bool reflection,
           grpc::ServerBuilder* builder);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_TRANSPORT_H_
