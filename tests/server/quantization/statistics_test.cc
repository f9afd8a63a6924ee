#include "server/quantization/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
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

// What the header says of bin i, with double logarithms.
size_t NaiveBin(double magnitude) {
  if (magnitude == 0.0) return 0;
  const double bin = std::floor(2.0 * std::log2(magnitude)) + 64.0;
  return static_cast<size_t>(std::clamp(bin, 0.0, 95.0));
}

TEST(LayerStatistics, AgreesWithANaiveReference) {
  constexpr size_t kColumns = 7;
  std::vector<float> values = RandomValues(kColumns * 50, 1, 3.0F);
  values[20] = 0.0F;
  const LayerStatistics statistics = Observed(values, kColumns);

  double sum = 0.0;
  std::vector<float> column_absmax(kColumns);
  std::array<uint64_t, kHistogramBins> histogram{};
  for (size_t i = 0; i < values.size(); ++i) {
    sum += values[i];
    float& absmax = column_absmax[i % kColumns];
    absmax = std::max(absmax, std::fabs(values[i]));
    ++histogram[NaiveBin(std::fabs(values[i]))];
  }
  const double mean = sum / values.size();
  double variance = 0.0;
  for (const float value : values) variance += (value - mean) * (value - mean);
  variance /= values.size();

  EXPECT_EQ(statistics.rows, 50);
  EXPECT_EQ(statistics.min, *std::min_element(values.begin(), values.end()));
  EXPECT_EQ(statistics.max, *std::max_element(values.begin(), values.end()));
  EXPECT_EQ(statistics.absmax(),
            *std::max_element(column_absmax.begin(), column_absmax.end()));
  EXPECT_NEAR(statistics.mean(), mean, 1e-12);
  EXPECT_NEAR(statistics.sigma(), std::sqrt(variance), 1e-9);
  EXPECT_EQ(statistics.column_absmax, column_absmax);
  EXPECT_EQ(statistics.histogram, histogram);
}

TEST(LayerStatistics, RangeAlwaysIncludesZero) {
  EXPECT_EQ(Observed({2.0F, 3.0F}, 2).min, 0.0F);
  EXPECT_EQ(Observed({-2.0F, -3.0F}, 2).max, 0.0F);
  EXPECT_EQ(Observed({-2.0F, -3.0F}, 2).absmax(), 3.0F);
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
}

TEST(LayerStatistics, HistogramBinsMeetAtPowersOfRootTwo) {
  const float root = std::sqrt(2.0F);  // rounds below the true root
  const LayerStatistics statistics = Observed(
      {1.0F, root, std::nextafter(root, 2.0F), 2.0F, -2.0F, 1e30F, 1e-30F}, 7);
  EXPECT_EQ(statistics.histogram[64], 2);  // 1 and what is below the root
  EXPECT_EQ(statistics.histogram[65], 1);
  EXPECT_EQ(statistics.histogram[66], 2);
  EXPECT_EQ(statistics.histogram[95], 1);
  EXPECT_EQ(statistics.histogram[0], 1);
}

TEST(LayerStatistics, ReadsAStridedView) {
  const std::vector<float> values = {1, 2, 99, 3, 4, 99};
  LayerStatistics statistics(2);
  statistics.Observe({values.data(), 2, 2, 3});
  EXPECT_EQ(statistics.max, 4.0F);
  EXPECT_THAT(statistics.column_absmax, ElementsAre(3.0F, 4.0F));
}

TEST(LayerStatistics, MergingIsObservingAll) {
  constexpr size_t kColumns = 5;
  const std::vector<float> first = RandomValues(kColumns * 9, 2);
  const std::vector<float> second = RandomValues(kColumns * 31, 3, 4.0F);
  std::vector<float> both = first;
  both.insert(both.end(), second.begin(), second.end());
  LayerStatistics merged = Observed(first, kColumns);
  ASSERT_THAT(merged.Merge(Observed(second, kColumns)), IsOk());
  const LayerStatistics all = Observed(both, kColumns);
  EXPECT_EQ(merged.rows, all.rows);
  EXPECT_EQ(merged.min, all.min);
  EXPECT_EQ(merged.max, all.max);
  EXPECT_EQ(merged.column_absmax, all.column_absmax);
  EXPECT_EQ(merged.histogram, all.histogram);
  EXPECT_NEAR(merged.mean(), all.mean(), 1e-12);
  EXPECT_NEAR(merged.sigma(), all.sigma(), 1e-12);
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

}  // namespace
}  // namespace octet::quantization
