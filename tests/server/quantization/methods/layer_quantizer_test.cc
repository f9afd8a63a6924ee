#include "server/quantization/methods/layer_quantizer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/half.h"
#include "server/model/linear_layer.h"
#include "server/quantization/calibration/layer_samples.h"
#include "server/quantization/methods/input_transform.h"
#include "tests/server/model/memory_tensors.h"
#include "tests/server/quantization/small_checkpoint.h"
#include "tests/server/quantization/small_layer.h"

namespace octet::quantization {
namespace {

using model::Scheme;
using testing::Each;
using testing::IsEmpty;

// +1 or -1, where i and j are places within a block.
double HadamardSign(size_t i, size_t j) {
  return std::popcount(i & j) % 2 == 0 ? 1.0 : -1.0;
}

// W' of the header's formula, with rotation matrices written out, in double.
std::vector<double> NaiveTransformed(const SmallLayer& layer,
                                     const LayerPlan& plan) {
  std::vector<double> w(layer.weight.begin(), layer.weight.end());
  for (size_t n = 0; n < layer.n; ++n) {
    double* const row = w.data() + n * layer.k;
    for (size_t k = 0; k < plan.smoothing.size(); ++k) {
      row[k] *= plan.smoothing[k];
    }
    for (const int32_t column : plan.outlier_columns) row[column] = 0.0;
    size_t block = plan.scheme.hadamard_block;
    for (size_t at = 0; block >= 2 && at < layer.k;) {
      if (at + block > layer.k) {
        block /= 2;
        continue;
      }
      std::vector<double> rotated(block);
      for (size_t i = 0; i < block; ++i) {
        for (size_t j = 0; j < block; ++j) {
          rotated[i] += HadamardSign(i, j) * row[at + j] /
                        std::sqrt(static_cast<double>(block));
        }
      }
      std::copy(rotated.begin(), rotated.end(), row + at);
      at += block;
    }
  }
  return w;
}

double ScaleOf(const QuantizedLayer& layer, const LayerPlan& plan, size_t k,
               size_t n, size_t column) {
  const size_t group = plan.scheme.group_size;
  if (group == 0) return layer.scales[n];
  return layer.scales[n * ((k + group - 1) / group) + column / group];
}

TEST(QuantizeLayer, CodesAreTheTransformedWeightsToHalfAStep) {
  for (const size_t k : {1, 2, 31, 33, 100}) {
    for (const size_t n : {1, 3}) {
      const SmallLayer layer(n, k, 21);
      for (const LayerPlan& plan : Plans(k)) {
        if (plan.rounding != Rounding::kNearest) continue;
        SCOPED_TRACE(Describe(plan, layer));
        const auto quantized = Quantized(layer, plan);
        ASSERT_THAT(quantized, IsOk());
        const std::vector<double> expected = NaiveTransformed(layer, plan);
        for (size_t i = 0; i < expected.size(); ++i) {
          const double scale = ScaleOf(*quantized, plan, k, i / k, i % k);
          ASSERT_NEAR(scale * quantized->codes[i], expected[i],
                      0.501 * scale + 1e-6)
              << i;
        }
      }
    }
  }
}

// What the layer computes is what the float layer does, to the error that its
// codes allow; wherever smoothing, rotation and outliers do not cancel, it is
// another layer altogether.
TEST(QuantizeLayer, EveryMethodKeepsTheLayersFunction) {
  for (const size_t k : {33, 100}) {
    const SmallLayer layer(5, k, 22);
    for (const LayerPlan& plan : Plans(k)) {
      SCOPED_TRACE(Describe(plan, layer));
      const auto quantized = Quantized(layer, plan);
      ASSERT_THAT(quantized, IsOk());
      const auto int8 = kernels::Int8Linear::Create(
          SpecOf(plan, *quantized, layer.n, k,
                 quantized->bias.empty() ? layer.bias : quantized->bias));
      ASSERT_THAT(int8, IsOk());
      std::vector<float> y(kSampleRows * layer.n);
      ASSERT_THAT(int8->Run(layer.rows(), {y.data(), kSampleRows, layer.n}, {}),
                  IsOk());
      double error = 0.0;
      double power = 0.0;
      for (size_t i = 0; i < kSampleRows; ++i) {
        for (size_t n = 0; n < layer.n; ++n) {
          double expected = layer.bias[n];
          for (size_t j = 0; j < k; ++j) {
            expected += static_cast<double>(layer.weight[n * k + j]) *
                        layer.x[i * k + j];
          }
          error += std::pow(expected - y[i * layer.n + n], 2);
          power += expected * expected;
        }
      }
      EXPECT_LT(error, 0.003 * power);
    }
  }
}

// The tensors as a bundle holds them.
model::MemoryTensors BundleTensors(const SmallLayer& layer,
                                   const LayerPlan& plan,
                                   const QuantizedLayer& quantized) {
  const auto n = static_cast<int64_t>(layer.n);
  const auto k = static_cast<int64_t>(layer.k);
  model::MemoryTensors tensors;
  tensors.Set("fc.weight", model::DataType::kI8, {n, k}, quantized.codes);
  tensors.SetFloat("fc.weight_scale",
                   {n, static_cast<int64_t>(quantized.scales.size()) / n},
                   quantized.scales);
  tensors.SetFloat("fc.bias", {n},
                   quantized.bias.empty() ? layer.bias : quantized.bias);
  tensors.SetFloat("fc.input_scale", {1}, {plan.input.scale});
  tensors.Set(
      "fc.input_zero_point", model::DataType::kI8, {1},
      std::vector<int8_t>{static_cast<int8_t>(plan.input.zero_point - 128)});
  if (!quantized.outlier_columns.empty()) {
    const auto columns = static_cast<int64_t>(quantized.outlier_columns.size());
    tensors.Set("fc.outlier_columns", model::DataType::kI32, {columns},
                quantized.outlier_columns);
    tensors.Set("fc.outlier_weight", model::DataType::kF16, {columns, n},
                quantized.outlier_weights);
  }
  if (!quantized.inverse_smoothing.empty()) {
    tensors.SetFloat("fc.inverse_smoothing", {k}, quantized.inverse_smoothing);
  }
  return tensors;
}

TEST(QuantizeLayer, ABundlesLayerComputesTheSameBits) {
  for (const size_t k : {1, 31, 100}) {
    for (const size_t n : {1, 4}) {
      const SmallLayer layer(n, k, 23);
      model::Linear linear{};
      linear.layer = "fc";
      linear.has_bias = true;
      linear.in_features = k;
      linear.out_features = n;
      for (const LayerPlan& plan : Plans(k)) {
        SCOPED_TRACE(Describe(plan, layer));
        const auto quantized = Quantized(layer, plan);
        ASSERT_THAT(quantized, IsOk());
        const auto in_memory = kernels::Int8Linear::Create(
            SpecOf(plan, *quantized, n, k,
                   quantized->bias.empty() ? layer.bias : quantized->bias));
        ASSERT_THAT(in_memory, IsOk());
        const auto stored = model::MakeLinearLayer(
            linear, plan.scheme, BundleTensors(layer, plan, *quantized));
        ASSERT_THAT(stored, IsOk());
        std::vector<float> expected(kSampleRows * n);
        std::vector<float> actual(kSampleRows * n);
        ASSERT_THAT(
            in_memory->Run(layer.rows(), {expected.data(), kSampleRows, n}, {}),
            IsOk());
        ASSERT_THAT(
            (*stored)->Run(layer.rows(), {actual.data(), kSampleRows, n}, {}),
            IsOk());
        EXPECT_EQ(actual, expected);
      }
    }
  }
}

TEST(QuantizeLayer, ThreadsChangeNothing) {
  const SmallLayer layer(300, 40, 24);  // more than one stripe of rows
  kernels::ThreadPool pool(3);
  for (const LayerPlan& plan : Plans(40)) {
    SCOPED_TRACE(Describe(plan, layer));
    const auto alone = Quantized(layer, plan);
    const auto threaded = Quantized(layer, plan, &pool);
    ASSERT_THAT(alone, IsOk());
    ASSERT_THAT(threaded, IsOk());
    EXPECT_EQ(threaded->codes, alone->codes);
    EXPECT_EQ(threaded->scales, alone->scales);
    EXPECT_EQ(threaded->bias, alone->bias);
  }
}

TEST(QuantizeLayer, AllZeroChannelsHaveScaleOneUnderEveryMethod) {
  SmallLayer layer(3, 48, 25);
  std::fill_n(layer.weight.begin() + 48, 48, 0.0F);
  for (const LayerPlan& plan : Plans(48)) {
    SCOPED_TRACE(Describe(plan, layer));
    const auto quantized = Quantized(layer, plan);
    ASSERT_THAT(quantized, IsOk());
    EXPECT_EQ(quantized->zero_channels, 1);
    EXPECT_EQ(ScaleOf(*quantized, plan, 48, 1, 0), 1.0);
    EXPECT_THAT(std::vector<int8_t>(quantized->codes.begin() + 48,
                                    quantized->codes.begin() + 96),
                Each(0));
  }
}

TEST(QuantizeLayer, OutlierColumnsLeaveCodesAndScales) {
  SmallLayer layer(2, 4, 26);
  layer.weight = {1, 100, 0.5F, 2, -4, 3, 254, 1};
  LayerPlan plan;
  plan.scheme = {Scheme::kLlmInt8, 6.0F};
  plan.outlier_columns = {1, 2};
  const auto quantized = Quantized(layer, plan);
  ASSERT_THAT(quantized, IsOk());
  EXPECT_THAT(quantized->scales, testing::ElementsAre(2.0F / 127, 4.0F / 127));
  EXPECT_THAT(quantized->codes,
              testing::ElementsAre(64, 0, 0, 127, -127, 0, 0, 32));
  std::vector<float> kept;
  for (const uint16_t bits : quantized->outlier_weights) {
    kept.push_back(kernels::Fp16ToFloat(bits));
  }
  EXPECT_THAT(kept, testing::ElementsAre(100, 3, 0.5F, 254));
}

TEST(QuantizeLayer, CorrectedBiasTakesOutTheMeanError) {
  const SmallLayer layer(7, 65, 27);
  for (LayerPlan plan : Plans(65)) {
    if (!plan.bias_correction) continue;
    SCOPED_TRACE(Describe(plan, layer));
    const auto quantized = Quantized(layer, plan);
    ASSERT_THAT(quantized, IsOk());
    ASSERT_EQ(quantized->bias.size(), 7);
    const auto int8 = kernels::Int8Linear::Create(
        SpecOf(plan, *quantized, 7, 65, quantized->bias));
    std::vector<float> y(kSampleRows * 7);
    ASSERT_THAT(int8->Run(layer.rows(), {y.data(), kSampleRows, 7}, {}),
                IsOk());
    for (size_t n = 0; n < 7; ++n) {
      double error = 0.0;
      for (size_t i = 0; i < kSampleRows; ++i) {
        double expected = layer.bias[n];
        for (size_t k = 0; k < 65; ++k) {
          expected += static_cast<double>(layer.weight[n * 65 + k]) *
                      layer.x[i * 65 + k];
        }
        error += (expected - y[i * 7 + n]) / kSampleRows;
      }
      EXPECT_NEAR(error, 0.0, 1e-5) << n;
    }
    // Nothing to correct where there is no bias.
    const auto bare = QuantizeLayer("fc.weight", layer.view(), {}, plan,
                                    layer.samples(), nullptr);
    ASSERT_THAT(bare, IsOk());
    EXPECT_THAT(bare->bias, IsEmpty());
  }
}

}  // namespace
}  // namespace octet::quantization
