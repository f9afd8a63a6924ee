#include "server/quantization/methods/outliers.h"

#include <cmath>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/quantization/methods/layer_quantizer.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

using model::Scheme;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(OutlierColumnsOf, ReachTheThresholdAfterSmoothing) {
  const std::vector<float> absmax = {6.0F, 5.9F, 0.0F, 60.0F};
  EXPECT_THAT(OutlierColumnsOf(absmax, {}, 6.0F), ElementsAre(0, 3));
  const std::vector<float> smoothing = {2.0F, 0.5F, 1.0F, 11.0F};
  EXPECT_THAT(OutlierColumnsOf(absmax, smoothing, 6.0F), ElementsAre(1));
  EXPECT_THAT(OutlierColumnsOf({}, {}, 6.0F), IsEmpty());
}

TEST(SmoothedSigma, IsTheStandardDeviationOfAllSmoothedValues) {
  const std::vector<float> x = RandomValues(50 * 7, 41, 3.0F);
  const std::vector<float> smoothing = {1, 2, 0.5F, 4, 1, 0.25F, 3};
  LayerSamples samples;
  samples.column_mean.resize(7);
  samples.column_mean_square.resize(7);
  double sum = 0.0;
  double squares = 0.0;
  for (size_t i = 0; i < x.size(); ++i) {
    samples.column_mean[i % 7] += x[i] / 50.0;
    samples.column_mean_square[i % 7] += x[i] * x[i] / 50.0;
    const double v = x[i] / smoothing[i % 7];
    sum += v / 350;
    squares += v * v / 350;
  }
  EXPECT_NEAR(SmoothedSigma(samples, smoothing), std::sqrt(squares - sum * sum),
              1e-6);
  EXPECT_EQ(SmoothedSigma({}, {}), 0.0);
}

TEST(MeasureOutliers, CountsColumnsAndValues) {
  LayerPlan plan;
  plan.scheme = {Scheme::kLlmInt8, 6.0F};
  plan.outlier_columns = {1};
  const std::vector<float> x = {0, 7, 0, -6,  // in the column, and live
                                1, 2, 3, 5.9F};
  const OutlierShares shares = MeasureOutliers(plan, {x.data(), 2, 4});
  EXPECT_EQ(shares.features, 0.25);
  EXPECT_EQ(shares.values, 0.25);
  plan.scheme.outlier_threshold = 0.0F;
  EXPECT_EQ(MeasureOutliers(plan, {x.data(), 2, 4}).values, 0.0);
}

TEST(MeasureOutliers, LooksAtRotatedValuesForLiveOnes) {
  LayerPlan plan;
  plan.scheme = {Scheme::kLlmInt8, 6.0F, 0, 2};
  // (7, 7) / sqrt(2) is (9.9, 0); (7, -7) is (0, 9.9); (8, 0) is (5.7, 5.7).
  const std::vector<float> x = {7, 7, 7, -7, 8, 0};
  EXPECT_EQ(MeasureOutliers(plan, {x.data(), 3, 2}).values, 2.0 / 6);
}

// The promise of the whole path: a row's bits are its own, with calibrated
// columns and live outliers, whatever stands beside it.
TEST(LlmInt8, ARowsResultIsItsOwnUnderBothRules) {
  constexpr size_t kRows = 33;
  constexpr size_t kColumns = 80;
  constexpr size_t kOutputs = 9;
  const std::vector<float> w = RandomValues(kOutputs * kColumns, 42, 0.1F);
  std::vector<float> x = RandomValues(kRows * kColumns, 43);
  for (size_t i = 0; i < kRows; ++i) {
    x[i * kColumns + 5] *= 20.0F;               // a feature
    x[i * kColumns + (i * 7) % kColumns] += 9;  // live, here and there
  }
  for (const float threshold : {6.0F, 3.7F}) {  // absolute; 3 sigma, say
    for (const uint32_t block : {0U, 16U}) {
      LayerPlan plan;
      plan.scheme = {Scheme::kLlmInt8, threshold, 0, block};
      plan.outlier_columns = {5};
      const auto layer = QuantizeLayer("w", {w.data(), kOutputs, kColumns}, {},
                                       plan, {}, nullptr);
      ASSERT_THAT(layer, IsOk());
      const auto int8 = kernels::Int8Linear::Create(
          SpecOf(plan, *layer, kOutputs, kColumns, {}));
      ASSERT_THAT(int8, IsOk());
      std::vector<float> together(kRows * kOutputs);
      kernels::ThreadPool pool(2);
      kernels::LinearCall call;
      call.pool = &pool;
      ASSERT_THAT(int8->Run({x.data(), kRows, kColumns},
                            {together.data(), kRows, kOutputs}, call),
                  IsOk());
      for (size_t i = 0; i < kRows; ++i) {
        std::vector<float> alone(kOutputs);
        ASSERT_THAT(int8->Run({x.data() + i * kColumns, 1, kColumns},
                              {alone.data(), 1, kOutputs}, {}),
                    IsOk());
        EXPECT_EQ(alone,
                  std::vector<float>(together.begin() + i * kOutputs,
                                     together.begin() + (i + 1) * kOutputs))
            << "row " << i;
      }
    }
  }
}

}  // namespace
}  // namespace octet::quantization
