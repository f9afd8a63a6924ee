// Messages with tensors, between gRPC's slices and the house.
//
//   Receive      slices -> fields by protobuf, and where the tensor's bytes lie
//   MakeMessage  fields and memory that already holds the tensor -> slices
//
// A tensor is copied once on its way in, into the memory it is computed from,
// by whoever computes it, and not at all on its way out. Services get and give
// grpc::ByteBuffer through gRPC's raw callback methods
// (WithRawCallbackMethod_MatMul).

#ifndef OCTET_SERVER_RPC_WIRE_MESSAGE_H_
#define OCTET_SERVER_RPC_WIRE_MESSAGE_H_

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "google/protobuf/message_lite.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/slice.h"
#include "server/rpc/wire/chunks.h"
#include "server/rpc/wire/paths.h"
#include "server/rpc/wire/split.h"

namespace octet::rpc {

// What arrived; where the bytes of its large fields are, as long as it lives.
class ReceivedBytes {
 public:
  ReceivedBytes() = default;
  ReceivedBytes(ReceivedBytes&&) = default;
  ReceivedBytes& operator=(ReceivedBytes&&) = default;

  // Takes the buffer, which is empty afterwards, so that the bytes are gone
  // when this is. INVALID_ARGUMENT exactly when `fields` could not be parsed
  // from the whole by protobuf, or the message has more than kMostBeside bytes
  // beside its tensors and numbers (beside.h).
  absl::Status Parse(const WirePath& path, grpc::ByteBuffer* buffer,
                     google::protobuf::MessageLite* fields);

  size_t size() const { return size_; }  // of the whole message
  // The tensor: empty when the field was not set.
  WireBytes tensor() const { return large_.empty() ? WireBytes() : large_[0]; }
  const std::vector<WireBytes>& tensors() const { return large_; }

 private:
  // The slices are let go before their buffer: what gRPC's memory quota does
  // with the last reference needs a context that destroying a buffer makes and
  // destroying a slice doesn't (a crash in gRPC 1.51, off gRPC's threads).
  struct Held {
    grpc::ByteBuffer buffer;
    std::vector<grpc::Slice> slices;
  };

  std::unique_ptr<Held> held_;
  std::vector<WireChunk> chunks_;
  std::vector<WireBytes> large_;
  size_t size_ = 0;
};

// A request: all of its fields but the large ones, and those.
template <typename Message>
struct Received {
  Message fields;
  ReceivedBytes bytes;

  absl::Status Parse(grpc::ByteBuffer* buffer) {
    return bytes.Parse(LargeField(&fields), buffer, &fields);
  }
};

// Bytes where they are, which `owner` keeps.
grpc::Slice SliceOf(std::shared_ptr<const void> owner, const void* data,
                    size_t bytes);

// The values where they are.
template <typename T, typename Allocator>
grpc::Slice SliceOf(std::vector<T, Allocator> values) {
  using Vector = std::vector<T, Allocator>;
  auto* kept = new Vector(std::move(values));
  return grpc::Slice(
      kept->data(), kept->size() * sizeof(T),
      [](void* owner) { delete static_cast<Vector*>(owner); }, kept);
}

// The message that `fields` would be with `large` in the field that `path`
// leads to: one, unless it is repeated. Messages on the way there have to be
// set. The large field is the last of its message; everything else is where
// protobuf writes it. What is small is copied, so that it is one slice.
grpc::ByteBuffer MakeMessage(const WirePath& path,
                             const google::protobuf::MessageLite& fields,
                             absl::Span<const grpc::Slice> large);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_WIRE_MESSAGE_H_
