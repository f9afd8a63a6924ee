#include "server/quantization/storage/report_data.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/thread_pool.h"
#include "server/quantization/calibration/layer_samples.h"
#include "server/quantization/methods/layer_quantizer.h"
#include "server/quantization/storage/weight_summary.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

using bundle::TensorReport;

std::vector<float> Normal(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0F, 0.5F);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

uint64_t Total(const bundle::HistogramReport& histogram) {
  return std::accumulate(histogram.counts.begin(), histogram.counts.end(),
                         uint64_t{0});
}

// Values of the report that were counted in bins which hold them.
void ExpectCounts(const TensorReport& report, std::vector<float> values) {
  const auto& histogram = report.histogram;
  ASSERT_LE(histogram.counts.size(), bundle::kReportBins);
  ASSERT_EQ(Total(histogram), values.size());
  const double width = (histogram.max - histogram.min) /
                       static_cast<double>(histogram.counts.size());
  std::vector<uint64_t> counts(histogram.counts.size());
  for (const float value : values) {
    ++counts.at(static_cast<size_t>((value - histogram.min) / width));
  }
  EXPECT_EQ(histogram.counts, counts);
}

TEST(WeightSummary, IsThatOfTheValuesWhateverTheBlocks) {
  constexpr size_t kRows = 150;
  constexpr size_t kColumns = 24;
  const std::vector<float> weight = Normal(kRows * kColumns, 7);
  std::vector<float> scales(kRows, 0.01F);  // clips at 1.27
  const LayerPlan plan;
  kernels::ThreadPool pool(3);
  WeightSummary blocks(plan);
  for (size_t first = 0; first < kRows; first += 70) {
    const size_t rows = std::min<size_t>(70, kRows - first);
    blocks.Add({weight.data() + first * kColumns, rows, kColumns},
               absl::MakeConstSpan(scales).subspan(first, rows), &pool);
  }
  const TensorReport report = blocks.Result();
  EXPECT_EQ(report.channels, kRows);
  EXPECT_EQ(report.min, *std::min_element(weight.begin(), weight.end()));
  EXPECT_EQ(report.max, *std::max_element(weight.begin(), weight.end()));
  EXPECT_NEAR(report.sigma, 0.5, 0.02);
  EXPECT_FLOAT_EQ(report.clip_max, 1.27F);
  EXPECT_FLOAT_EQ(report.clip_min, -1.27F);
  const auto clipped = std::count_if(weight.begin(), weight.end(), [](float w) {
    return std::fabs(w) > 0.01F * 127.5F;
  });
  EXPECT_GT(clipped, 0);
  EXPECT_DOUBLE_EQ(report.clipped_share,
                   static_cast<double>(clipped) / weight.size());
  ExpectCounts(report, weight);
  ASSERT_EQ(report.largest_channels.size(), bundle::kReportChannels);
  EXPECT_EQ(report.largest_channels[0].absmax, report.channel_absmax.max);
  EXPECT_TRUE(std::is_sorted(
      report.largest_channels.begin(), report.largest_channels.end(),
      [](const auto& a, const auto& b) { return a.absmax > b.absmax; }));
}

TEST(WeightSummary, HasAScalePerGroup) {
  const std::vector<float> weight = {1, 1, 50, 50};
  const std::vector<float> scales = {0.5F / 127.0F, 50.0F / 127.0F};
  LayerPlan plan;
  plan.scheme.group_size = 2;
  WeightSummary summary(plan);
  summary.Add({weight.data(), 1, 4}, scales, nullptr);
  EXPECT_DOUBLE_EQ(summary.Result().clipped_share, 0.5);
  EXPECT_FLOAT_EQ(summary.Result().clip_max, 50.0F);
}

// 1000 is seven groups of 128 and one of 104.
TEST(WeightSummary, RoundingToNearestClipsNothingWhateverTheGroups) {
  constexpr size_t kRows = 4;
  constexpr size_t kColumns = 1000;
  const std::vector<float> weight = Normal(kRows * kColumns, 7);
  LayerPlan plan;
  plan.scheme.scheme = model::Scheme::kW8A8Dynamic;
  plan.scheme.group_size = 128;
  const kernels::MatrixView<const float> rows(weight.data(), kRows, kColumns);
  const auto layer = QuantizeLayer("fc.weight", rows, {}, plan, {}, nullptr);
  ASSERT_THAT(layer, IsOk());
  ASSERT_EQ(layer->scales.size(), kRows * 8);
  WeightSummary summary(plan);
  summary.Add(rows, layer->scales, nullptr);
  EXPECT_EQ(summary.Result().clipped_share, 0.0);
}

TEST(WeightSummary, IsOfTheValuesThatBecomeCodes) {
  constexpr size_t kColumns = 32;
  std::vector<float> weight = Normal(kColumns, 3);
  LayerPlan plan;
  plan.scheme.scheme = model::Scheme::kLlmInt8;
  plan.scheme.smoothed = true;
  plan.smoothing.assign(kColumns, 2.0F);
  plan.outlier_columns = {5};
  WeightSummary summary(plan);
  summary.Add({weight.data(), 1, kColumns}, {}, nullptr);
  for (float& value : weight) value *= 2.0F;
  weight[5] = 0.0F;
  ExpectCounts(summary.Result(), weight);
  // Float rows have no clip.
  EXPECT_EQ(summary.Result().clip_min, summary.Result().clip_max);
}

TEST(WeightSummary, OfNothingIsEmpty) {
  const LayerPlan plan;
  const WeightSummary summary(plan);
  EXPECT_EQ(summary.Result().channels, 0);
  EXPECT_TRUE(summary.Result().histogram.counts.empty());
}

LayerStatistics Observed(const std::vector<float>& values, size_t columns) {
  LayerStatistics statistics(columns);
  statistics.Observe({values.data(), values.size() / columns, columns});
  return statistics;
}

LayerPlan StaticPlan(float min, float max) {
  LayerPlan plan;
  plan.scheme.scheme = model::Scheme::kW8A8Static;
  plan.input = AffineFromRange(min, max);
  return plan;
}

TEST(DescribeActivations, FindsTheLoudChannels) {
  constexpr size_t kColumns = 40;
  std::vector<float> values = Normal(kColumns * 64, 5);
  for (size_t r = 0; r < 64; ++r) values[r * kColumns + 17] *= 40.0F;
  const TensorReport report =
      DescribeActivations(Observed(values, kColumns), LayerPlan());
  EXPECT_EQ(report.channels, kColumns);
  EXPECT_EQ(report.largest_channels.at(0).channel, 17);
  EXPECT_EQ(report.largest_channels[0].absmax, report.channel_absmax.max);
  EXPECT_LT(report.channel_absmax.p75, 3.0);
  EXPECT_GT(report.channel_absmax.max, 20.0);
  EXPECT_EQ(report.clip_min, report.clip_max);
  ExpectCounts(report, values);
}

TEST(DescribeActivations, ShowsTheClipOfAStaticScale) {
  const std::vector<float> values = Normal(4096, 9);
  const LayerStatistics statistics = Observed(values, 64);
  LayerPlan plan = StaticPlan(-0.5F, 1.0F);
  const TensorReport report = DescribeActivations(statistics, plan);
  EXPECT_NEAR(report.clip_min, -0.5, 0.01);
  EXPECT_NEAR(report.clip_max, 1.0, 0.01);
  const auto outside = std::count_if(values.begin(), values.end(), [](float x) {
    return x < -0.5F || x > 1.0F;
  });
  EXPECT_NEAR(report.clipped_share,
              static_cast<double>(outside) / values.size(), 0.01);
  // What is coded is not x: no clip of x could be drawn.
  plan.scheme.hadamard_block = 32;
  EXPECT_EQ(DescribeActivations(statistics, plan).clip_max, 0.0);
}

TEST(DescribeCalibrators, MarksTheOneThatWasChosen) {
  const LayerStatistics statistics = Observed(Normal(4096, 9), 64);
  const auto chosen = [](const std::vector<bundle::CalibratorReport>& all) {
    std::vector<std::string> names;
    for (const auto& one : all) {
      if (one.chosen) names.push_back(one.calibrator);
    }
    return names;
  };
  EXPECT_THAT(chosen(DescribeCalibrators(
                  statistics, StaticPlan(statistics.min, statistics.max))),
              testing::ElementsAre("min_max"));
  EXPECT_THAT(chosen(DescribeCalibrators(statistics, LayerPlan())),
              testing::IsEmpty());
  EXPECT_EQ(DescribeCalibrators(statistics, LayerPlan()).size(), 5);
  EXPECT_TRUE(DescribeCalibrators(LayerStatistics(4), LayerPlan()).empty());
}

TEST(DescribeFrontier, HasTheFloatModelAndThisOne) {
  bundle::QuantizationReport report;
  const LinearTimes times = {.as_float = 30.0, .as_stored = 10.0};
  DescribeFrontier(times, report);
  EXPECT_TRUE(report.frontier.empty());  // nothing was measured
  report.model_rows = 3;
  report.model.sqnr_db = 40.0;
  DescribeFrontier(times, report);
  ASSERT_EQ(report.frontier.size(), 2);
  EXPECT_EQ(report.frontier[0].relative_error, 0.0);
  EXPECT_DOUBLE_EQ(report.frontier[1].relative_error, 0.01);
  EXPECT_TRUE(report.frontier[1].chosen);
  EXPECT_EQ(report.frontier[0].microseconds, 30.0);
  EXPECT_EQ(report.frontier[1].microseconds, 10.0);
  DescribeFrontier(times, report);
  EXPECT_EQ(report.frontier.size(), 2);
}

TEST(LimitDetails, KeepsThoseThatLoseMost) {
  bundle::QuantizationReport report;
  report.layers.resize(kDetailedLayers + 10);
  for (size_t i = 0; i < report.layers.size(); ++i) {
    report.layers[i].output_rows = 1;
    report.layers[i].output.sqnr_db = static_cast<double>(i);
    report.layers[i].weights.channels = 4;
    report.layers[i].calibrators.resize(5);
  }
  LimitDetails(report);
  EXPECT_EQ(report.layers[0].weights.channels, 4);
  EXPECT_EQ(report.layers[kDetailedLayers - 1].calibrators.size(), 5);
  EXPECT_EQ(report.layers[kDetailedLayers].weights.channels, 0);
  EXPECT_TRUE(report.layers.back().calibrators.empty());
  EXPECT_EQ(report.warnings.size(), 1);
  report.layers.resize(3);
  report.warnings.clear();
  LimitDetails(report);
  EXPECT_TRUE(report.warnings.empty());
}

}  // namespace
}  // namespace octet::quantization
