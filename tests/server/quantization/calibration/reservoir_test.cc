#include "server/quantization/calibration/reservoir.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/quantization/calibration/sample_keys.h"
#include "tests/server/quantization/calibration/reservoir_values.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

constexpr size_t kColumns = 3;

// Rows that tell their number, with keys of it.
struct Batch {
  std::vector<float> values;
  std::vector<uint64_t> keys;

  Batch(size_t first, size_t rows) {
    for (size_t r = first; r < first + rows; ++r) {
      values.insert(values.end(), kColumns, static_cast<float>(r));
      keys.push_back(RowKey(/*sample_key=*/1, r));
    }
  }
  void OfferTo(RowReservoir& reservoir) const {
    reservoir.Offer({values.data(), keys.size(), kColumns}, keys);
  }
};

TEST(RowReservoir, KeepsAllWhileThereIsPlace) {
  RowReservoir reservoir(10, kColumns);
  Batch(0, 10).OfferTo(reservoir);
  EXPECT_EQ(reservoir.rows().rows, 10);
  EXPECT_TRUE(std::is_sorted(reservoir.keys().begin(), reservoir.keys().end()));
  for (size_t r = 0; r < 10; ++r) {
    const auto number = static_cast<size_t>(reservoir.rows().row(r)[0]);
    EXPECT_EQ(reservoir.keys()[r], RowKey(1, number));
  }
}

TEST(RowReservoir, MergingAnySplitIsOnePass) {
  for (uint32_t seed = 0; seed < 30; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::vector<RowReservoir> parts(1 + random() % 4,
                                    RowReservoir(20, kColumns));
    RowReservoir once(20, kColumns);
    size_t row = 0;
    for (int batch = 0; batch < 10; ++batch) {
      // Some rows come again.
      const size_t rows = random() % 25;
      const Batch values(row - std::min<size_t>(row, random() % 4), rows);
      values.OfferTo(once);
      values.OfferTo(parts[random() % parts.size()]);
      row += rows;
    }
    RowReservoir merged = parts[0];
    for (size_t i = 1; i < parts.size(); ++i) merged.Merge(parts[i]);
    EXPECT_EQ(Values(merged), Values(once));
    EXPECT_EQ(merged.keys(), once.keys());
  }
}

// 200 of 10,000 rows, 40 times: each tenth of the rows gets its part.
TEST(RowReservoir, DrawsEvenly) {
  std::vector<size_t> tenths(10);
  for (uint64_t seed = 0; seed < 40; ++seed) {
    RowReservoir reservoir(200, kColumns);
    Batch batch(0, 10000);
    for (size_t r = 0; r < batch.keys.size(); ++r) {
      batch.keys[r] = RowKey(SampleKey(seed, "sample"), r);
    }
    batch.OfferTo(reservoir);
    for (size_t r = 0; r < 200; ++r) {
      ++tenths[static_cast<size_t>(reservoir.rows().row(r)[0]) / 1000];
    }
  }
  for (const size_t count : tenths) {
    EXPECT_NEAR(count, 800, 5 * std::sqrt(800.0 * 0.9));
  }
}

TEST(RowReservoir, TheSmallerCapacityHolds) {
  RowReservoir large(10, kColumns);
  RowReservoir small(4, kColumns);
  RowReservoir expected(4, kColumns);
  Batch(0, 10).OfferTo(large);
  Batch(5, 10).OfferTo(small);
  Batch(0, 15).OfferTo(expected);
  large.Merge(small);
  EXPECT_EQ(large.capacity(), 4);
  EXPECT_EQ(Values(large), Values(expected));
}

TEST(RowReservoir, OfNoCapacityKeepsNothing) {
  RowReservoir reservoir(0, kColumns);
  Batch(0, 5).OfferTo(reservoir);
  EXPECT_EQ(reservoir.rows().rows, 0);
}

TEST(SampleReservoir, KeepsTheSmallestKeysOnce) {
  SampleReservoir reservoir(2);
  reservoir.Offer(SampleReservoir::Sample::OfTokens(30, {3, 3}));
  reservoir.Offer(SampleReservoir::Sample::OfTokens(20, {2}));
  reservoir.Offer(SampleReservoir::Sample::OfTokens(20, {2}));
  reservoir.Offer(SampleReservoir::Sample::OfTokens(40, {4}));
  reservoir.Offer(SampleReservoir::Sample::OfTokens(10, {1, 1, 1}));
  const model::ModelInput batch = reservoir.AsBatch();
  EXPECT_THAT(batch.lengths, ::testing::ElementsAre(3, 1));
  EXPECT_THAT(batch.token_ids, ::testing::ElementsAre(1, 1, 1, 2));
}

TEST(SampleReservoir, MergesToTheSmallerCapacity) {
  SampleReservoir large(3);
  for (const uint64_t key : {1, 5, 9})
    large.Offer(SampleReservoir::Sample::OfTokens(key, {7}));
  SampleReservoir small(2);
  for (const uint64_t key : {3, 4})
    small.Offer(SampleReservoir::Sample::OfTokens(key, {7}));
  large.Merge(small);
  ASSERT_EQ(large.samples().size(), 2);
  EXPECT_EQ(large.samples()[0].key, 1);
  EXPECT_EQ(large.samples()[1].key, 3);
}

}  // namespace
}  // namespace octet::quantization
