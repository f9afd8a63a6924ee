// A message as it came: chunks of bytes, cut wherever the network cut them.
//
//   chunks   [ 0a 03 6d ][ 6c 70 1a ... ][ ... ]
//
// A WireCursor reads through them as through one piece; WireBytes is a field
// that was found and not copied yet. Neither owns the bytes.
//
// Numbers are read as protobuf 3.21 reads them (parse_context.h), so that both
// always see the same fields:
//
//   varint   at most 10 bytes, the value modulo 2^64
//   tag      at most 5 bytes, the value modulo 2^32
//   length   at most 5 bytes and at most 2^31 - 17

#ifndef OCTET_SERVER_RPC_WIRE_CHUNKS_H_
#define OCTET_SERVER_RPC_WIRE_CHUNKS_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/types/span.h"

namespace octet::rpc {

using WireChunk = absl::Span<const uint8_t>;
using WireChunks = absl::Span<const WireChunk>;

class WireCursor {
 public:
  WireCursor() = default;
  explicit WireCursor(WireChunks chunks);

  // Bytes from the start of the message.
  size_t position() const { return passed_ + offset_; }

  // All false at the end of the last chunk, or at a number that is none; where
  // the cursor stands then means nothing.
  bool ReadTag(uint32_t* tag);
  bool ReadLength(size_t* length);
  bool SkipVarint();
  bool Skip(size_t bytes);
  bool CopyTo(void* to, size_t bytes);
  bool AppendTo(std::string* to, size_t bytes);

 private:
  bool ReadByte(uint8_t* byte);
  // Calls take(data, size) for every piece of the next `bytes`.
  template <typename Take>
  bool ForPieces(size_t bytes, Take take);

  WireChunks chunks_;  // from the current one on
  size_t passed_ = 0;  // bytes of the chunks before it
  size_t offset_ = 0;  // in it
};

// The value of one `bytes` field.
class WireBytes {
 public:
  WireBytes() = default;
  // `start` stands at the first byte; `size` bytes follow.
  WireBytes(const WireCursor& start, size_t size)
      : start_(start), size_(size) {}

  size_t size() const { return size_; }
  // To read it piece by piece.
  WireCursor cursor() const { return start_; }
  // `size` of its bytes from `offset` on, all of which it has.
  WireBytes Part(size_t offset, size_t size) const;
  void CopyTo(void* to) const;

 private:
  WireCursor start_;
  size_t size_ = 0;
};

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_WIRE_CHUNKS_H_
