#include "server/model/chunks.h"

#include <algorithm>
#include <numeric>

namespace octet::model {
namespace {

// Some 4 KiB a token between the operators of a small encoder: in L2. Fewer,
// and the weights come from beyond it too often.
constexpr size_t kChunkTokens = 256;
// A thread that waits for the last chunk may do so for a tenth of the time.
constexpr size_t kMostIdle = 10;

// Chunks end with the sequence in which `most` tokens are reached, or before
// it where that is nearer.
void Cut(absl::Span<const int32_t> lengths, size_t most,
         std::vector<Chunk>& chunks) {
  chunks.assign(1, {});
  for (size_t i = 0, start = 0; i < lengths.size(); ++i) {
    const auto length = static_cast<size_t>(lengths[i]);
    if (chunks.back().sequences > 0 &&
        chunks.back().tokens + length / 2 >= most) {
      chunks.push_back({.first_sequence = i, .first_token = start});
    }
    chunks.back().sequences += 1;
    chunks.back().tokens += length;
    start += length;
  }
}

// Tokens of the busiest thread, if threads take chunks one after the other.
size_t LongestShare(const std::vector<Chunk>& chunks, size_t threads) {
  static thread_local std::vector<size_t> shares;
  shares.assign(threads, 0);
  for (const Chunk& chunk : chunks) {
    *std::min_element(shares.begin(), shares.end()) += chunk.tokens;
  }
  return *std::max_element(shares.begin(), shares.end());
}

size_t CeilDivide(size_t a, size_t b) { return (a + b - 1) / b; }

}  // namespace

void DivideSequences(absl::Span<const int32_t> lengths, size_t threads,
                     Chunks& division) {
  const size_t tokens =
      std::accumulate(lengths.begin(), lengths.end(), size_t{0},
                      [](size_t sum, int32_t length) {
                        return sum + static_cast<size_t>(length);
                      });
  if (threads > 1) {
    const size_t rounds = CeilDivide(tokens, kChunkTokens * threads);
    Cut(lengths, CeilDivide(tokens, rounds * threads), division.chunks);
    const size_t longest = LongestShare(division.chunks, threads) * threads;
    division.in_parallel = longest <= tokens + tokens / kMostIdle;
    if (division.in_parallel) return;
  }
  division.in_parallel = false;
  Cut(lengths, kChunkTokens * threads, division.chunks);
}

}  // namespace octet::model
