// A batch of sequences in chunks of whole sequences, each of which goes through
// the whole graph on its own: what an operator writes is still in cache when
// the next one reads it, and threads meet once per batch, not once per
// operator. Rows do not depend on their neighbours, so no result depends on the
// chunks.

#ifndef OCTET_SERVER_MODEL_CHUNKS_H_
#define OCTET_SERVER_MODEL_CHUNKS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace octet::model {

struct Chunk {
  size_t first_sequence = 0;
  size_t sequences = 0;
  size_t first_token = 0;
  size_t tokens = 0;
};

struct Chunks {
  std::vector<Chunk> chunks;
  // A thread for each chunk. Otherwise one chunk follows the other, and threads
  // share the work inside: where sequences are too few or too unlike to keep
  // all threads busy to the end.
  bool in_parallel = false;
};

// Into `division`, whose memory is used again.
void DivideSequences(absl::Span<const int32_t> lengths, size_t threads,
                     Chunks& division);

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_CHUNKS_H_
