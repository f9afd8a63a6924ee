// Calls whose messages are taken from the wire and put on it as slices
// (wire/message.h), and whose answers come from wherever they are computed.
//
//   ReplyWire     unary
//   PipelineWire  bidirectional: many requests of one stream at a time
//
// A handler reads a request and submits it, on gRPC's thread or, where the
// message is large, on a worker of the edge. What it computes there is no more
// work than that (serving::Task::brief).

#ifndef OCTET_SERVER_RPC_CALLS_WIRE_REACTORS_H_
#define OCTET_SERVER_RPC_CALLS_WIRE_REACTORS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/rpc/calls/reactors.h"

namespace octet::rpc {

// One request, and what is known of the call it came with.
struct WireRequest {
  // Before the answer is computed: that so many bytes of it may be, and are
  // held for the client until it is sent. Errors: INVALID_ARGUMENT about
  // `field`, RESOURCE_EXHAUSTED.
  absl::Status Expect(std::string_view field, uint64_t answer_bytes) const;

  const RpcScope* scope = nullptr;  // until it is answered
  RequestNote* note = nullptr;      // likewise; the handler's to write
  grpc::ByteBuffer bytes;
  absl::Time arrival;
  absl::Time deadline;
  absl::Duration queued;  // waited to be read
  // Until it is answered.
  std::function<bool()> cancelled;
  // For trailing metadata, until it is answered; nullptr on streams, which have
  // one trailer for all of their answers.
  grpc::CallbackServerContext* unary = nullptr;
  size_t* held = nullptr;  // for its client, with the bytes of the answer
};

// The answer, once, from any thread. An error is the call's, and ends it.
using WireAnswer = std::function<void(absl::StatusOr<grpc::ByteBuffer>)>;

// An error refuses the request; `answer` is not called then. Takes the bytes.
using WireHandler =
    std::function<absl::Status(WireRequest& request, WireAnswer answer)>;

grpc::ServerUnaryReactor* ReplyWire(const Edge& edge, std::string_view method,
                                    grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer* request,
                                    grpc::ByteBuffer* response,
                                    const WireHandler& handler);

// What one stream may have in the server: read, and its answer not sent.
// A client that sends more is held up by flow control. Answers come in the
// order of the requests, so that clients may count instead of reading tags.
struct PipelineOptions {
  size_t requests = 32;
  size_t bytes = size_t{64} << 20;  // of requests; one larger goes alone
};

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* PipelineWire(
    const Edge& edge, std::string_view method,
    grpc::CallbackServerContext* context, const PipelineOptions& options,
    WireHandler handler);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_CALLS_WIRE_REACTORS_H_
