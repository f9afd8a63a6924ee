// How much of a message is neither a tensor nor numbers.
//
// Two bytes can be an object: an empty `inputs` of a ModelInferRequest, which
// protobuf makes 200 bytes of before anybody can say that there are too many.
// So what may become objects is measured on the wire, before it is parsed.

#ifndef OCTET_SERVER_RPC_WIRE_BESIDE_H_
#define OCTET_SERVER_RPC_WIRE_BESIDE_H_

#include <cstddef>

#include "server/rpc/wire/chunks.h"
#include "server/rpc/wire/split.h"

namespace octet::rpc {

// Names, shapes and parameters of a request, a hundred times over; a hundred
// times as much memory is still little.
inline constexpr size_t kMostBeside = size_t{256} << 10;

// Whether a message has at most `most` bytes beside the values of its large
// fields and its `path.numbers`. What is no message does if its beginning does.
bool FitsBeside(WireChunks chunks, const WirePath& path, size_t most);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_WIRE_BESIDE_H_
