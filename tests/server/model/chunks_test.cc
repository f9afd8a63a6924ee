#include "server/model/chunks.h"

#include <gtest/gtest.h>

#include <random>

namespace octet::model {
namespace {

std::vector<int32_t> Lengths(size_t count, int32_t length) {
  return std::vector<int32_t>(count, length);
}

Chunks Divided(const std::vector<int32_t>& lengths, size_t threads) {
  // What an earlier division left behind.
  Chunks division = {std::vector<Chunk>(3, {7, 7, 7, 7}), true};
  DivideSequences(lengths, threads, division);
  return division;
}

TEST(DivideSequences, ChunksFollowEachOtherAndLeaveNothingOut) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::vector<int32_t> lengths(1 + random() % 40);
    for (int32_t& length : lengths) {
      length = 1 + static_cast<int32_t>(random() % 300);
    }
    const Chunks division = Divided(lengths, 1 + random() % 4);
    size_t sequence = 0;
    size_t token = 0;
    for (const Chunk& chunk : division.chunks) {
      EXPECT_EQ(chunk.first_sequence, sequence);
      EXPECT_EQ(chunk.first_token, token);
      ASSERT_GT(chunk.sequences, 0);
      size_t tokens = 0;
      for (size_t i = 0; i < chunk.sequences; ++i) {
        tokens += static_cast<size_t>(lengths[sequence++]);
      }
      EXPECT_EQ(chunk.tokens, tokens);
      token += tokens;
    }
    EXPECT_EQ(sequence, lengths.size());
  }
}

TEST(DivideSequences, LikeSequencesGoToThreadsByThemselves) {
  const Chunks division = Divided(Lengths(8, 128), 2);
  EXPECT_TRUE(division.in_parallel);
  EXPECT_EQ(division.chunks.size() % 2, 0);
}

TEST(DivideSequences, ThreadsShareOneSequenceAndOneThatOutweighsTheRest) {
  EXPECT_FALSE(Divided(Lengths(1, 128), 2).in_parallel);
  EXPECT_FALSE(Divided({500, 10, 10}, 2).in_parallel);
  EXPECT_FALSE(Divided(Lengths(3, 128), 2).in_parallel);
}

TEST(DivideSequences, OneThreadTakesALargeBatchInChunks) {
  const Chunks division = Divided(Lengths(32, 128), 1);
  EXPECT_FALSE(division.in_parallel);
  EXPECT_GT(division.chunks.size(), 4);
}

}  // namespace
}  // namespace octet::model
