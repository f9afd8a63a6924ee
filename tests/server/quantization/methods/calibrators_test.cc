#include "server/quantization/methods/calibrators.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/quantization/methods/clip_search.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

using absl::StatusCode::kInvalidArgument;

LayerStatistics Seen(const std::vector<float>& values) {
  LayerStatistics statistics(1);
  statistics.Observe({values.data(), values.size(), 1});
  return statistics;
}

// In (0, 1), the same on every machine.
double Uniform(std::mt19937& random) { return (random() + 0.5) / 4294967296.0; }

// With all of its tails, which a sum of uniforms has not (Box and Muller).
std::vector<float> Gauss(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  for (float& value : values) {
    const double radius = std::sqrt(-2.0 * std::log(Uniform(random)));
    value =
        static_cast<float>(radius * std::cos(6.283185307 * Uniform(random)));
  }
  return values;
}

std::vector<float> Laplace(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  for (float& value : values) {
    const auto size = static_cast<float>(-std::log(Uniform(random)));
    value = random() % 2 == 0 ? size : -size;
  }
  return values;
}

// The squared error of real codes of real values.
double CodedError(const std::vector<float>& values, Range range) {
  const AffineParameters codes = AffineFromRange(range.min, range.max);
  double error = 0.0;
  for (const float value : values) {
    const double code = std::clamp(
        std::nearbyint(double{value} / codes.scale) + codes.zero_point, 0.0,
        255.0);
    const double back = (code - codes.zero_point) * codes.scale;
    error += (value - back) * (value - back);
  }
  return error;
}

TEST(Calibrators, NamesAreReadBack) {
  for (const Calibrator calibrator : kCalibrators) {
    EXPECT_EQ(*ParseCalibrator(Name(calibrator)), calibrator);
  }
  EXPECT_THAT(ParseCalibrator("best"),
              FailsWith(kInvalidArgument, "'min_max', 'moving_average'"));
}

TEST(Calibrators, PercentilesMakeSense) {
  EXPECT_THAT(CheckPercentile(99.9), IsOk());
  EXPECT_THAT(CheckPercentile(100.0), IsOk());
  EXPECT_THAT(CheckPercentile(50.0), FailsWith(kInvalidArgument, "percentile"));
  EXPECT_THAT(CheckPercentile(100.1),
              FailsWith(kInvalidArgument, "percentile"));
  EXPECT_THAT(CheckPercentile(NAN), FailsWith(kInvalidArgument, "percentile"));
}

TEST(Calibrators, NothingOrNothingButZerosGivesNoRange) {
  for (const CalibratorChoice& choice : ChooseAll(LayerStatistics(3))) {
    EXPECT_EQ(choice.range, (Range{0.0F, 0.0F})) << Name(choice.calibrator);
  }
  for (const CalibratorChoice& choice : ChooseAll(Seen({0.0F, 0.0F}))) {
    EXPECT_EQ(choice.range, (Range{0.0F, 0.0F})) << Name(choice.calibrator);
    EXPECT_EQ(choice.quality.clipped_share, 0.0);
    EXPECT_EQ(choice.quality.sqnr_db, std::numeric_limits<double>::infinity());
  }
}

TEST(Calibrators, EveryRangeIncludesZeroAndLiesInsideTheExtremes) {
  const std::vector<std::vector<float>> inputs = {
      RandomValues(3000, 1), Laplace(3000, 2),
      {5.0F, 6.0F, 7.0F},    {-1e-40F, 1e-42F},
      {3e38F, -3e38F, 1.0F}, {-0.17F, 30.0F, 0.1F, 0.2F}};
  for (const std::vector<float>& values : inputs) {
    const LayerStatistics statistics = Seen(values);
    for (const CalibratorChoice& choice : ChooseAll(statistics)) {
      SCOPED_TRACE(Name(choice.calibrator));
      EXPECT_GE(choice.range.min, statistics.min);
      EXPECT_LE(choice.range.min, 0.0F);
      EXPECT_GE(choice.range.max, 0.0F);
      EXPECT_LE(choice.range.max, statistics.max);
      EXPECT_GE(choice.quality.clipped_share, 0.0);
      EXPECT_LE(choice.quality.clipped_share, 1.0);
      EXPECT_FALSE(std::isnan(choice.quality.sqnr_db));
    }
  }
}

TEST(Calibrators, MinMaxAndMovingAverage) {
  LayerStatistics statistics(1);
  const std::vector<float> first = {-1.0F, 4.0F};
  const std::vector<float> second = {-3.0F, 2.0F};
  statistics.Observe({first.data(), 2, 1});
  statistics.Observe({second.data(), 2, 1});
  EXPECT_EQ(ChooseRange(Calibrator::kMinMax, statistics), (Range{-3.0F, 4.0F}));
  EXPECT_EQ(ChooseRange(Calibrator::kMovingAverage, statistics),
            (Range{-2.0F, 3.0F}));
}

TEST(Calibrators, PercentileIsTheQuantileWithinABin) {
  std::vector<float> values = RandomValues(20000, 5);
  const LayerStatistics statistics = Seen(values);
  std::sort(values.begin(), values.end());
  for (const double percentile : {90.0, 99.0, 99.9}) {
    SCOPED_TRACE(percentile);
    const Range range =
        ChooseRange(Calibrator::kPercentile, statistics, percentile);
    const auto last = static_cast<size_t>(percentile / 100.0 * values.size());
    // Between the neighbours of that rank, and a bin.
    const auto width = static_cast<float>(statistics.histogram.width());
    EXPECT_GE(range.max, values[last - 2] - width);
    EXPECT_LE(range.max, values[last] + width);
    EXPECT_GE(range.min, values[values.size() - last - 1] - width);
    EXPECT_LE(range.min, values[values.size() - last + 1] + width);
  }
  EXPECT_EQ(ChooseRange(Calibrator::kPercentile, statistics, 100.0),
            ChooseRange(Calibrator::kMinMax, statistics));
}

// The optimum for 8 bits, in sigmas and in Laplace's b (Banner et al., "Post
// training 4-bit quantization", 2019, table of ACIQ): 3.92 and 9.89.
TEST(Calibrators, MseFindsTheKnownOptimaOfGaussAndLaplace) {
  const LayerStatistics gauss = Seen(Gauss(400000, 1));
  const Range g = ChooseRange(Calibrator::kMse, gauss);
  EXPECT_NEAR(g.max, 3.92, 0.2);
  EXPECT_NEAR(g.min, -3.92, 0.2);
  const LayerStatistics laplace = Seen(Laplace(400000, 2));
  const Range l = ChooseRange(Calibrator::kMse, laplace);
  EXPECT_NEAR(l.max, 9.89, 0.7);
  EXPECT_NEAR(l.min, -9.89, 0.7);
}

TEST(Calibrators, NoOtherRangeHasLessErrorThanMse) {
  for (uint32_t seed = 0; seed < 6; ++seed) {
    SCOPED_TRACE(seed);
    std::vector<float> values = Laplace(5000, seed);
    // Also one-sided, as behind an activation, with an outlier.
    if (seed % 2 == 1) {
      for (float& value : values) value = std::max(value, -0.17F);
      values[7] = 60.0F;
    }
    const LayerStatistics statistics = Seen(values);
    const auto choices = ChooseAll(statistics);
    const double best = CodedError(values, choices.back().range);
    for (const CalibratorChoice& choice : choices) {
      EXPECT_LE(best, 1.01 * CodedError(values, choice.range))
          << Name(choice.calibrator);
    }
  }
}

TEST(Calibrators, ErrorOfARangeIsThatOfItsCodes) {
  const std::vector<float> values = Laplace(50000, 9);
  const LayerStatistics statistics = Seen(values);
  for (const Range range :
       {Range{-2.0F, 3.0F}, Range{-9.0F, 9.0F},
        Range{statistics.min, statistics.max}, Range{-0.5F, 0.0F}}) {
    const double error =
        SquaredError(statistics, AffineFromRange(range.min, range.max));
    EXPECT_NEAR(error / CodedError(values, range), 1.0, 0.02) << range.max;
    size_t outside = 0;
    for (const float x : values) outside += x < range.min || x > range.max;
    EXPECT_NEAR(MeasureRange(range, statistics).clipped_share,
                static_cast<double>(outside) / values.size(), 2e-3);
  }
}

TEST(Calibrators, EntropyCutsATailThatHoldsNoInformation) {
  std::vector<float> values = RandomValues(100000, 4);
  const Range without = ChooseRange(Calibrator::kEntropy, Seen(values));
  EXPECT_GT(without.max, 2.5F);
  values.push_back(100.0F);  // one of 100,000
  const Range with = ChooseRange(Calibrator::kEntropy, Seen(values));
  EXPECT_LT(with.max, 20.0F);
  EXPECT_GT(with.max, 2.5F);
}

// Most values behind a ReLU are exactly 0, which any range codes exactly.
TEST(Calibrators, ZerosDoNotMoveEntropy) {
  std::vector<float> values = RandomValues(50000, 6);
  for (float& value : values) value = std::fabs(value) + 0.01F;
  const Range plain = ChooseRange(Calibrator::kEntropy, Seen(values));
  values.resize(200000, 0.0F);
  EXPECT_EQ(ChooseRange(Calibrator::kEntropy, Seen(values)), plain);
}

TEST(Calibrators, ChoicesDoNotDependOnTheSplit) {
  const std::vector<float> values = Laplace(4000, 3);
  LayerStatistics once(4);
  LayerStatistics a(4);
  LayerStatistics b(4);
  for (size_t row = 0; row < 1000; row += 100) {
    const kernels::MatrixView<const float> batch(values.data() + row * 4, 100,
                                                 4);
    once.Observe(batch);
    (row % 300 == 0 ? a : b).Observe(batch);
  }
  ASSERT_THAT(b.Merge(a), IsOk());
  const auto expected = ChooseAll(once);
  const auto merged = ChooseAll(b);
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_FLOAT_EQ(merged[i].range.min, expected[i].range.min) << i;
    EXPECT_FLOAT_EQ(merged[i].range.max, expected[i].range.max) << i;
  }
}

}  // namespace
}  // namespace octet::quantization
