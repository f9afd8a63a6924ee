#include "server/quantization/calibration/histogram.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

Histogram Of(const std::vector<float>& values) {
  Histogram histogram;
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  histogram.Widen(*low, *high);
  histogram.Count({values.data(), 1, values.size()});
  return histogram;
}

uint64_t CountAt(const Histogram& histogram, double value) {
  const double bin = std::floor(value / histogram.width());
  const auto index = static_cast<int64_t>(bin) - histogram.first_bin();
  return histogram.counts().at(static_cast<size_t>(index));
}

TEST(Histogram, CountsByTheFormula) {
  const std::vector<float> values = RandomValues(10000, 1, 2.0F);
  const Histogram histogram = Of(values);
  EXPECT_LE(histogram.counts().size(), Histogram::kMaxBins);
  EXPECT_GT(histogram.counts().size(), Histogram::kMaxBins / 2 - 2);
  std::vector<uint64_t> naive(histogram.counts().size());
  for (const float value : values) {
    const double bin = std::floor(value / histogram.width());
    ++naive.at(
        static_cast<size_t>(static_cast<int64_t>(bin) - histogram.first_bin()));
  }
  EXPECT_EQ(histogram.counts(), absl::MakeConstSpan(naive));
  EXPECT_EQ(histogram.total(), values.size());
}

TEST(Histogram, TakesTheFinestWidthThatFits) {
  const Histogram exact = Of({-2048.0F, 2047.0F});
  EXPECT_EQ(exact.width(), 1.0);
  EXPECT_EQ(exact.counts().size(), 4096);
  const Histogram one_more = Of({-2048.0F, 2048.0F});
  EXPECT_EQ(one_more.width(), 2.0);
  const Histogram one_sided = Of({0.0F, 4095.0F});
  EXPECT_EQ(one_sided.width(), 1.0);
}

TEST(Histogram, ZeroIsAlwaysInside) {
  EXPECT_EQ(CountAt(Of({100.0F, 101.0F}), 0.0), 0);
  EXPECT_EQ(CountAt(Of({-3.0F, -2.5F}), 0.0), 0);
  EXPECT_EQ(CountAt(Of({0.0F, 0.0F}), 0.0), 2);
}

TEST(Histogram, HoldsAnyFiniteValue) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  constexpr float kSmallest = std::numeric_limits<float>::denorm_min();
  Histogram histogram = Of({kSmallest, -kSmallest, 0.0F});
  EXPECT_EQ(CountAt(histogram, -kSmallest), 1);
  EXPECT_EQ(CountAt(histogram, kSmallest), 1);
  histogram.Merge(Of({kLargest, -kLargest}));
  EXPECT_EQ(histogram.total(), 5);
  EXPECT_EQ(CountAt(histogram, kLargest), 1);
  EXPECT_EQ(CountAt(histogram, -kLargest), 1);
  // The smallest negative value stays on its side of 0.
  EXPECT_EQ(CountAt(histogram, -kSmallest), 1);
  EXPECT_EQ(CountAt(histogram, 0.0), 2);
}

TEST(Histogram, MergingAnySplitIsOnePass) {
  for (uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::vector<float> all;
    std::vector<Histogram> parts(1 + random() % 6);
    for (int batch = 0; batch < 15; ++batch) {
      const int exponent = static_cast<int>(random() % 60) - 30;
      const std::vector<float> values =
          RandomValues(1 + random() % 30, random(), std::ldexp(1.0F, exponent));
      all.insert(all.end(), values.begin(), values.end());
      parts[random() % parts.size()].Merge(Of(values));
    }
    Histogram merged;
    for (const Histogram& part : parts) merged.Merge(part);
    EXPECT_EQ(merged, Of(all));
  }
}

TEST(Histogram, CoarsenedKeepsCountsAndEnds) {
  const Histogram fine = Of(RandomValues(5000, 3));
  const Histogram coarse = fine.Coarsened(100);
  EXPECT_LE(coarse.counts().size(), 100);
  EXPECT_EQ(coarse.total(), fine.total());
  EXPECT_LE(coarse.LowerBound(0), fine.LowerBound(0));
  EXPECT_GE(coarse.LowerBound(coarse.counts().size()),
            fine.LowerBound(fine.counts().size()));
}

TEST(Histogram, NumbersThatNoHistogramHasAreRefused) {
  const std::vector<uint64_t> two = {1, 2};
  EXPECT_THAT(Histogram::Create(0, -1, two), IsOk());
  EXPECT_THAT(Histogram::Create(0, 0, two), IsOk());
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_THAT(Histogram::Create(0, 1, two), FailsWith(kInvalid, "bins"));
  EXPECT_THAT(Histogram::Create(0, -2, two), FailsWith(kInvalid, "bins"));
  EXPECT_THAT(Histogram::Create(0, 0, {}), FailsWith(kInvalid, "bins"));
  EXPECT_THAT(Histogram::Create(-150, 0, two), FailsWith(kInvalid, "bins"));
  EXPECT_THAT(Histogram::Create(118, 0, two), FailsWith(kInvalid, "bins"));
  EXPECT_THAT(
      Histogram::Create(0, 0, std::vector<uint64_t>(Histogram::kMaxBins + 1)),
      FailsWith(kInvalid, "bins"));
}

}  // namespace
}  // namespace octet::quantization
