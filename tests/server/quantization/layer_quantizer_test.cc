#include "server/quantization/layer_quantizer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/half.h"
#include "server/model/linear_layer.h"
#include "server/quantization/input_transform.h"
#include "server/quantization/layer_samples.h"
#include "tests/server/model/memory_tensors.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

using kernels::MatrixView;
using model::Scheme;
using testing::Each;
using testing::IsEmpty;

constexpr size_t kSampleRows = 40;

struct Layer {
  size_t n;
  size_t k;
  std::vector<float> weight;
  std::vector<float> bias;
  std::vector<float> x;

  Layer(size_t n, size_t k, uint32_t seed)
      : n(n),
        k(k),
        weight(RandomValues(n * k, seed, 0.1F)),
        bias(RandomValues(n, seed + 1)),
        x(RandomValues(kSampleRows * k, seed + 2)) {}
  MatrixView<const float> view() const { return {weight.data(), n, k}; }
  MatrixView<const float> rows() const { return {x.data(), kSampleRows, k}; }
  LayerSamples samples() const {
    LayerSamples samples;
    samples.rows = rows();
    return samples;
  }
};

absl::StatusOr<QuantizedLayer> Quantized(const Layer& layer,
                                         const LayerPlan& plan,
                                         kernels::ThreadPool* pool = nullptr) {
  return QuantizeLayer("fc.weight", layer.view(), layer.bias, plan,
                       layer.samples(), pool);
}

// Every method that fits K columns, alone and with the others.
std::vector<LayerPlan> Plans(size_t k) {
  std::vector<LayerPlan> plans;
  for (const Scheme scheme :
       {Scheme::kW8A8Dynamic, Scheme::kW8A8Static, Scheme::kLlmInt8}) {
    for (int methods = 0; methods < 32; ++methods) {
      LayerPlan plan;
      plan.scheme.scheme = scheme;
      if (methods & 1) {
        plan.scheme.smoothed = true;
        for (size_t j = 0; j < k; ++j) {
          plan.smoothing.push_back(0.5F + 0.37F * static_cast<float>(j % 7));
        }
      }
      if (methods & 2) plan.scheme.hadamard_block = 16;
      if (methods & 4) plan.scheme.group_size = 32;
      if (methods & 8) plan.rounding = Rounding::kGptq;
      plan.bias_correction = (methods & 16) != 0;
      plan.input = {.scale = 0.07F, .zero_point = 120};
      if (scheme == Scheme::kLlmInt8) {
        plan.scheme.outlier_threshold = 2.5F;
        if (k > 1) plan.outlier_columns = {static_cast<int32_t>(k / 2)};
      }
      plans.push_back(std::move(plan));
    }
  }
  return plans;
}

std::string Describe(const LayerPlan& plan, const Layer& layer) {
  return (testing::Message()
          << "[" << layer.n << ", " << layer.k << "] "
          << model::Name(plan.scheme.scheme) << " smoothed "
          << plan.scheme.smoothed << " block " << plan.scheme.hadamard_block
          << " group " << plan.scheme.group_size << " gptq "
          << (plan.rounding == Rounding::kGptq) << " bias "
          << plan.bias_correction)
      .GetString();
}

// +1 or -1, where i and j are places within a block.
double HadamardSign(size_t i, size_t j) {
  return std::popcount(i & j) % 2 == 0 ? 1.0 : -1.0;
}

// W' of the header's formula, with rotation matrices written out, in double.
std::vector<double> NaiveTransformed(const Layer& layer,
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
      const Layer layer(n, k, 21);
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
    const Layer layer(5, k, 22);
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
model::MemoryTensors BundleTensors(const Layer& layer, const LayerPlan& plan,
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
      const Layer layer(n, k, 23);
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
  const Layer layer(300, 40, 24);  // more than one stripe of rows
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
  Layer layer(3, 48, 25);
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
  Layer layer(2, 4, 26);
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
  const Layer layer(7, 65, 27);
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

TEST(QuantizeLayer, MethodsThatNeedSamplesSaySo) {
  const Layer layer(2, 8, 28);
  LayerPlan plan;
  plan.scheme.scheme = Scheme::kW8A8Dynamic;
  plan.rounding = Rounding::kGptq;
  const auto without_rows = [&] {
    return QuantizeLayer("fc.weight", layer.view(), layer.bias, plan, {},
                         nullptr);
  };
  EXPECT_THAT(without_rows(),
              FailsWith(absl::StatusCode::kFailedPrecondition,
                        "tensor 'fc.weight': error compensation needs rows"));
  plan.rounding = Rounding::kNearest;
  plan.bias_correction = true;
  EXPECT_THAT(without_rows(),
              FailsWith(absl::StatusCode::kFailedPrecondition,
                        "tensor 'fc.weight': bias correction needs rows"));
  Layer silent = layer;
  std::fill(silent.x.begin(), silent.x.end(), 0.0F);
  plan.rounding = Rounding::kGptq;
  EXPECT_THAT(Quantized(silent, plan),
              FailsWith(absl::StatusCode::kFailedPrecondition,
                        "tensor 'fc.weight': the second moments"));
}

TEST(QuantizeLayer, WeightsThatCannotBeStoredAreNamed) {
  LayerPlan plan;
  plan.scheme = {Scheme::kLlmInt8, 6.0F};
  Layer layer(2, 3, 29);
  layer.weight[4] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(Quantized(layer, plan),
              FailsWith(absl::StatusCode::kInvalidArgument,
                        "tensor 'fc.weight' holds NaN at index [1, 1]"));
  layer.weight[4] = 7e4F;
  plan.outlier_columns = {1};
  EXPECT_THAT(Quantized(layer, plan),
              FailsWith(absl::StatusCode::kInvalidArgument,
                        "tensor 'fc.weight' holds 70000 at index [1, 1], in "
                        "an outlier column: too large for FP16"));
}

TEST(QuantizeLayer, APlanMustFitTheLayer) {
  const Layer layer(2, 3, 30);
  LayerPlan good;
  good.scheme = {Scheme::kLlmInt8, 6.0F};
  const auto expect_refused = [&](const LayerPlan& plan, const char* text) {
    EXPECT_THAT(Quantized(layer, plan),
                FailsWith(absl::StatusCode::kInvalidArgument, text));
  };
  LayerPlan plan = good;
  plan.scheme.scheme = Scheme::kFp16;
  expect_refused(plan, "scheme fp16 is not one of INT8");
  plan = good;
  plan.scheme.group_size = 33;
  expect_refused(plan, "group_size");
  plan = good;
  plan.smoothing = {1, 1, 1};
  expect_refused(plan, "smoothing has 3 factors for 3 columns");
  plan.scheme.smoothed = true;
  plan.smoothing = {1, 1};
  expect_refused(plan, "smoothing has 2 factors for 3 columns");
  for (const float bad :
       {0.0F, -1.0F, 1e-39F, 3e38F, std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    plan.smoothing = {1, 1, bad};
    expect_refused(plan, "a smoothing factor of ");
  }
  for (const std::vector<int32_t>& bad :
       std::vector<std::vector<int32_t>>{{-1}, {3}, {1, 1}, {2, 0}}) {
    plan = good;
    plan.outlier_columns = bad;
    expect_refused(plan, "outlier column ");
  }
}

}  // namespace
}  // namespace octet::quantization
