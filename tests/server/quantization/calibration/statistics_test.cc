#include "server/quantization/calibration/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

LayerStatistics Observed(const std::vector<float>& values, size_t columns) {
  LayerStatistics statistics(columns);
  statistics.Observe({values.data(), values.size() / columns, columns});
  return statistics;
}

TEST(LayerStatistics, AgreesWithANaiveReference) {
  constexpr size_t kColumns = 7;
  constexpr size_t kRows = 50;
  const std::vector<float> values = RandomValues(kColumns * kRows, 1, 3.0F);
  const LayerStatistics statistics = Observed(values, kColumns);

  double sum = 0.0;
  for (const float value : values) sum += value;
  const double mean = sum / values.size();
  double variance = 0.0;
  for (const float value : values) variance += (value - mean) * (value - mean);
  variance /= values.size();
  EXPECT_EQ(statistics.rows, kRows);
  EXPECT_EQ(statistics.batches, 1);
  EXPECT_EQ(statistics.min, *std::min_element(values.begin(), values.end()));
  EXPECT_EQ(statistics.max, *std::max_element(values.begin(), values.end()));
  EXPECT_NEAR(statistics.mean(), mean, 1e-12);
  EXPECT_NEAR(statistics.sigma(), std::sqrt(variance), 1e-9);

  for (size_t c = 0; c < kColumns; ++c) {
    SCOPED_TRACE(c);
    std::vector<float> column;
    double squares = 0.0;
    for (size_t r = 0; r < kRows; ++r) {
      column.push_back(values[r * kColumns + c]);
      squares += static_cast<double>(column.back()) * column.back();
    }
    const auto [low, high] = std::minmax_element(column.begin(), column.end());
    EXPECT_EQ(statistics.column_min[c], *low);
    EXPECT_EQ(statistics.column_max[c], *high);
    EXPECT_EQ(statistics.column_absmax[c], std::max(-*low, *high));
    EXPECT_NEAR(statistics.column_sum[c],
                std::accumulate(column.begin(), column.end(), 0.0), 1e-12);
    EXPECT_NEAR(statistics.column_sum_squares[c], squares, 1e-10);
  }
}

TEST(LayerStatistics, RangeAlwaysIncludesZeroAndColumnsNeedNot) {
  const LayerStatistics high = Observed({2.0F, 3.0F}, 2);
  EXPECT_EQ(high.min, 0.0F);
  EXPECT_THAT(high.column_min, ElementsAre(2.0F, 3.0F));
  const LayerStatistics low = Observed({-2.0F, -3.0F}, 2);
  EXPECT_EQ(low.max, 0.0F);
  EXPECT_THAT(low.column_max, ElementsAre(-2.0F, -3.0F));
  EXPECT_EQ(low.absmax(), 3.0F);
}

TEST(LayerStatistics, SigmaSurvivesALargeMean) {
  std::vector<float> values(100000);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = i % 2 == 0 ? 10001.0F : 9999.0F;
  }
  EXPECT_NEAR(Observed(values, 10).sigma(), 1.0, 1e-6);
}

TEST(LayerStatistics, NothingSeenIsZeroAndNotNaN) {
  const LayerStatistics statistics(4);
  EXPECT_EQ(statistics.mean(), 0.0);
  EXPECT_EQ(statistics.sigma(), 0.0);
  EXPECT_EQ(statistics.absmax(), 0.0F);
  EXPECT_THAT(InactiveColumns(statistics), IsEmpty());
}

TEST(LayerStatistics, ReadsAStridedView) {
  const std::vector<float> values = {1, 2, 99, 3, 4, 99};
  LayerStatistics statistics(2);
  statistics.Observe({values.data(), 2, 2, 3});
  EXPECT_EQ(statistics.max, 4.0F);
  EXPECT_THAT(statistics.column_absmax, ElementsAre(3.0F, 4.0F));
  EXPECT_EQ(statistics.histogram.total(), 4);
}

TEST(LayerStatistics, MovingAverageSeesBatchesAndNotTheirRows) {
  LayerStatistics statistics(1);
  const std::vector<float> loud = {-4.0F, 8.0F, 1.0F};
  const std::vector<float> quiet = {2.0F};
  statistics.Observe({loud.data(), 3, 1});
  statistics.Observe({quiet.data(), 1, 1});
  EXPECT_EQ(statistics.batches, 2);
  EXPECT_EQ(statistics.sum_batch_min, -4.0);
  EXPECT_EQ(statistics.sum_batch_max, 10.0);
}

// Batches of all sizes and magnitudes, given out at random to a random number
// of statistics, which are merged in a random order.
TEST(LayerStatistics, MergingAnySplitIsOnePass) {
  constexpr size_t kColumns = 5;
  for (uint32_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::vector<LayerStatistics> parts(1 + random() % 5,
                                       LayerStatistics(kColumns));
    LayerStatistics once(kColumns);
    for (uint32_t batch = 0; batch < 12; ++batch) {
      const size_t rows = 1 + random() % 20;
      const float size = std::ldexp(1.0F, static_cast<int>(random() % 40) - 20);
      const std::vector<float> values =
          RandomValues(rows * kColumns, random(), size);
      once.Observe({values.data(), rows, kColumns});
      parts[random() % parts.size()].Observe({values.data(), rows, kColumns});
    }
    std::shuffle(parts.begin(), parts.end(), random);
    LayerStatistics merged(kColumns);
    for (const LayerStatistics& part : parts) {
      ASSERT_THAT(merged.Merge(part), IsOk());
    }
    EXPECT_EQ(merged.rows, once.rows);
    EXPECT_EQ(merged.batches, once.batches);
    EXPECT_EQ(merged.min, once.min);
    EXPECT_EQ(merged.max, once.max);
    EXPECT_EQ(merged.column_min, once.column_min);
    EXPECT_EQ(merged.column_max, once.column_max);
    EXPECT_EQ(merged.column_absmax, once.column_absmax);
    EXPECT_EQ(merged.histogram, once.histogram);
    const double scale = once.absmax();
    EXPECT_NEAR(merged.mean(), once.mean(), 1e-14 * scale);
    EXPECT_NEAR(merged.sigma(), once.sigma(), 1e-12 * scale);
    EXPECT_NEAR(merged.sum_batch_max, once.sum_batch_max, 1e-13 * scale);
    EXPECT_NEAR(merged.sum_batch_min, once.sum_batch_min, 1e-13 * scale);
    for (size_t c = 0; c < kColumns; ++c) {
      EXPECT_NEAR(merged.column_sum[c], once.column_sum[c], 1e-12 * scale);
      EXPECT_NEAR(merged.column_sum_squares[c], once.column_sum_squares[c],
                  1e-12 * scale * scale);
    }
  }
}

TEST(LayerStatistics, MergingOtherWidthsIsRefused) {
  LayerStatistics statistics(3);
  EXPECT_THAT(statistics.Merge(LayerStatistics(4)),
              FailsWith(absl::StatusCode::kInvalidArgument, "4 columns"));
}

TEST(OutlierColumns, ReachTheThreshold) {
  const LayerStatistics statistics =
      Observed({1.0F, -6.0F, 5.9F, 2.0F, 0.0F, 7.0F}, 3);
  EXPECT_THAT(OutlierColumns(statistics, 6.0F), ElementsAre(1, 2));
  EXPECT_THAT(OutlierColumns(statistics, 7.5F), IsEmpty());
}

TEST(InactiveColumns, AreConstantOrHardlyThere) {
  const std::vector<float> values = {
      1.0F, 0.0F, 3.0F, 1e-4F,  1.0F,  //
      2.0F, 0.0F, 3.0F, -1e-4F, -2.0F,
  };
  EXPECT_THAT(InactiveColumns(Observed(values, 5)), ElementsAre(1, 2, 3));
}

TEST(InactiveColumns, OneRowDoesNotShowThatAColumnIsConstant) {
  EXPECT_THAT(InactiveColumns(Observed({1.0F, 0.0F, 3.0F}, 3)), ElementsAre(1));
}

}  // namespace
}  // namespace octet::quantization
