// A serialized message, taken apart without copying what is large in it:
//
//   MatMulRequest { model, layer, x { type, shape, data }, output_type }
//        |                                          |
//        |  rest: the same message without x.data   |  where x.data lies
//        v  (some 100 bytes, parsed by protobuf)    v  (copied once, by whoever
//                                                      knows where to)
//
// Only the messages on the path to the large field are walked through here;
// everything else is cut out by its length and left to protobuf, with all of
// its rules: merging, packed fields, UTF-8, groups, unknown fields, depth. So
// a message is accepted if and only if protobuf accepts it, and the large field
// has the value that protobuf gives it. tests/fuzz/fuzz_wire holds that against
// protobuf for every input and every way to cut it.

#ifndef OCTET_SERVER_RPC_WIRE_SPLIT_H_
#define OCTET_SERVER_RPC_WIRE_SPLIT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "server/rpc/wire/chunks.h"

namespace octet::rpc {

enum WireType : uint32_t {
  kVarint = 0,
  kFixed64 = 1,
  kLengthDelimited = 2,
  kStartGroup = 3,
  kEndGroup = 4,
  kFixed32 = 5,
};

// The tag of a message, string or bytes field.
constexpr uint32_t TagOf(uint32_t field) {
  return field << 3 | kLengthDelimited;
}

// Skips a field whose tag was read, a group to its end. Whether the tags of
// groups match is left to protobuf: no group it accepts ends elsewhere.
bool SkipField(uint32_t tag, WireCursor* cursor);

void AppendVarint(uint64_t value, std::string* to);

// Where a message keeps its large field: numbers of the fields that lead there,
// {3, 3} for MatMulRequest.x.data. None: no field is large.
struct WirePath {
  absl::Span<const uint32_t> fields;
  bool repeated = false;  // the last field is; otherwise its last value counts
  // A oneof on the path, which would clear the large field again: the sibling
  // `rival` of `fields[rival_depth]`, a message or string. 0: there is none.
  size_t rival_depth = 0;
  uint32_t rival = 0;
  // To a message of repeated numbers, which may be many (beside.h).
  // Paths that have none need not say so.
  // NOLINTNEXTLINE(readability-redundant-member-init)
  absl::Span<const uint32_t> numbers = {};
};

struct WireParts {
  std::string rest;
  std::vector<WireBytes> large;  // at most one, unless the field is repeated
};

// False for what cannot be a message. What can, but is not, shows when `rest`
// is parsed. `parts` points into what `chunks` points to.
bool SplitWire(WireChunks chunks, const WirePath& path, WireParts* parts);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_WIRE_SPLIT_H_
