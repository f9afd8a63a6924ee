#include "kernels/int8_linear.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/half.h"
#include "kernels/packed_weights.h"
#include "kernels/registry.h"
#include "kernels/rounding.h"
#include "kernels/thread_pool.h"
#include "tests/kernels/kernel_testing.h"
#include "tests/kernels/layer_testing.h"

namespace octet::kernels {
namespace {

using ::testing::HasSubstr;

bool IsOutlier(const Layer& layer, const float* x, size_t i) {
  const bool fixed = std::binary_search(
      layer.columns.begin(), layer.columns.end(), static_cast<int32_t>(i));
  return fixed || (layer.threshold > 0 && std::fabs(x[i]) >= layer.threshold);
}

// The formula of the header in double, from exact codes. No activation.
std::vector<double> Expected(const Layer& layer) {
  std::vector<double> y;
  for (size_t m = 0; m < layer.m; ++m) {
    const float* x = layer.x.data() + m * layer.k;
    float absmax = 0.0F;
    for (size_t i = 0; i < layer.k; ++i) {
      if (!IsOutlier(layer, x, i)) absmax = std::max(absmax, std::fabs(x[i]));
    }
    const bool dynamic = layer.coding == ActivationCoding::kPerToken;
    const float scale = dynamic ? AbsmaxToScale(absmax) : layer.input_scale;
    const float inverse = InverseScale(scale);
    for (size_t n = 0; n < layer.n; ++n) {
      double acc = 0.0;
      double outliers = 0.0;
      for (size_t i = 0; i < layer.k; ++i) {
        const double w = layer.codes[n * layer.k + i];
        const auto column =
            std::find(layer.columns.begin(), layer.columns.end(), i);
        if (column != layer.columns.end()) {
          const size_t row = column - layer.columns.begin();
          outliers += double{x[i]} * Fp16ToFloat(layer.fp16[row * layer.n + n]);
        } else if (IsOutlier(layer, x, i)) {
          outliers += x[i] * w * layer.scales[n];
        } else {
          acc +=
              w * (dynamic ? SymmetricCode(x[i], inverse)
                           : AffineCode(x[i], inverse, layer.input_zero_point) -
                                 layer.input_zero_point);
        }
      }
      double value = layer.scales[n] * (scale * acc) + outliers + layer.bias[n];
      if (layer.with_residual) value += layer.residual[m * layer.n + n];
      y.push_back(value);
    }
  }
  return y;
}

void ExpectNear(const std::vector<float>& actual,
                const std::vector<double>& expected, double tolerance = 1e-5) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    const double bound = tolerance * std::max(1.0, std::fabs(expected[i]));
    ASSERT_NEAR(actual[i], expected[i], bound) << i;
  }
}

class Int8LinearTest : public EveryKernel {};
OCTET_INSTANTIATE_FOR_EVERY_KERNEL(Int8LinearTest);

TEST_P(Int8LinearTest, AgreesWithTheFormulaInDouble) {
  for (const bool is_static : {false, true}) {
    for (const bool outliers : {false, true}) {
      for (const bool residual : {false, true}) {
        Layer layer(19, 71, 131, /*seed=*/5);
        if (is_static) layer.SetStatic(0.02F, 111);
        if (outliers) layer.SetOutliers({0, 7, 130}, 2.5F);
        layer.with_residual = residual;
        SCOPED_TRACE(testing::Message() << is_static << outliers << residual);
        ASSERT_NO_FATAL_FAILURE(
            ExpectNear(layer.Run(kernel()), Expected(layer)));
      }
    }
  }
}

TEST_P(Int8LinearTest, IsBitEqualToTheReference) {
  for (const Activation activation :
       {Activation::kNone, Activation::kRelu, Activation::kGelu,
        Activation::kGeluTanh, Activation::kSilu, Activation::kTanh}) {
    for (const auto& [m, n, k] : {std::tuple{1, 1, 1},
                                  {1, 95, 77},
                                  {7, 64, 100},
                                  {8, 131, 2309},
                                  {50, 83, 259}}) {
      Layer layer(m, n, k, /*seed=*/21);
      layer.activation = activation;
      layer.with_residual = true;
      EXPECT_EQ(Bits(layer.Run(kernel())), Bits(layer.Run(SelectKernel({}))));
      layer.SetOutliers(
          k > 50 ? std::vector<int32_t>{3, 50} : std::vector<int32_t>{0}, 2.0F);
      EXPECT_EQ(Bits(layer.Run(kernel())), Bits(layer.Run(SelectKernel({}))));
      layer.SetStatic(0.03F, 128);
      EXPECT_EQ(Bits(layer.Run(kernel())), Bits(layer.Run(SelectKernel({}))));
    }
  }
}

// No code is small, and no sum of two products fits in 16 bits. K takes several
// slices.
TEST_P(Int8LinearTest, CodesAsLargeAsTheyGetStayExact) {
  for (const bool one_sign : {false, true}) {
    Layer layer(11, 40, 4100, /*seed=*/23);
    for (float& x : layer.x) x = one_sign ? 1.0F : std::copysign(1.0F, x);
    for (size_t i = 0; i < layer.codes.size(); i += 3) {
      layer.codes[i] = i % 2 == 0 ? 127 : -128;
    }
    EXPECT_EQ(Bits(layer.Run(kernel())), Bits(layer.Run(SelectKernel({}))));
    for (const int32_t zero_point : {0, 77, 128, 255}) {
      SCOPED_TRACE("zero point " + std::to_string(zero_point));
      layer.SetStatic(0.003F, zero_point);
      EXPECT_EQ(Bits(layer.Run(kernel())), Bits(layer.Run(SelectKernel({}))));
    }
  }
}

TEST_P(Int8LinearTest, RowsDoNotDependOnTheirNeighbours) {
  for (const size_t at : {0, 5, 31, 62}) {
    Layer alone(1, 77, 201, /*seed=*/7);
    alone.SetOutliers({4}, 2.5F);
    alone.activation = Activation::kGelu;
    Layer crowd(63, 77, 201, /*seed=*/8);
    crowd.codes = alone.codes;
    crowd.scales = alone.scales;
    crowd.bias = alone.bias;
    crowd.SetOutliers({4}, 2.5F);
    crowd.activation = Activation::kGelu;
    for (size_t i = 0; i < crowd.x.size(); i += 97) crowd.x[i] = 400.0F;
    crowd.x[201 * ((at + 1) % 63)] = std::nanf("");
    std::copy(alone.x.begin(), alone.x.end(), crowd.x.begin() + at * 201);
    const std::vector<float> y = crowd.Run(kernel());
    EXPECT_EQ(Bits(y.data() + at * 77, 77), Bits(alone.Run(kernel())));
  }
}

TEST_P(Int8LinearTest, ThreadsDoNotChangeABit) {
  for (const auto& [m, n, k] : {std::tuple{200, 390, 256}, {3, 2100, 512}}) {
    Layer layer(m, n, k, /*seed=*/31);
    layer.SetOutliers({1, 100}, 3.0F);
    const std::vector<float> one = layer.Run(kernel());
    for (const size_t threads : {2, 3, 8}) {
      ThreadPool pool(threads);
      EXPECT_EQ(Bits(layer.Run(kernel(), &pool)), Bits(one)) << threads;
    }
  }
}

TEST_P(Int8LinearTest, RowOfOutliersIsComputedInFloat) {
  Layer layer(3, 40, 90, /*seed=*/12);
  for (size_t i = 0; i < layer.k; ++i) layer.x[layer.k + i] = 6.0F + i;
  layer.SetOutliers({}, 6.0F);
  // 90 terms of up to 100 each, which cancel: FP32 keeps fewer digits.
  ExpectNear(layer.Run(kernel()), Expected(layer), 2e-4);
}

TEST_P(Int8LinearTest, NonFiniteRowIsNaNAndOnlyThatRow) {
  for (const float bad : {std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()}) {
    for (const size_t column : {0, 4, 96}) {
      Layer layer(9, 70, 97, /*seed=*/13);
      layer.activation = Activation::kGelu;
      layer.SetOutliers({4}, 3.0F);
      const std::vector<float> good = layer.Run(kernel());
      layer.x[5 * layer.k + column] = bad;
      const std::vector<float> y = layer.Run(kernel());
      for (size_t i = 0; i < y.size(); ++i) {
        if (i / layer.n == 5) {
          ASSERT_TRUE(std::isnan(y[i])) << i;
        } else {
          ASSERT_EQ(y[i], good[i]) << i;
        }
      }
    }
  }
}

// Beyond what an int32 can hold: 128 * 127 * K reaches 2^31 at K = 132,105.
TEST_P(Int8LinearTest, LargeKIsSplitExactly) {
  for (const size_t k :
       {kMaxExactK - 1, kMaxExactK, kMaxExactK + 1, size_t{140001}}) {
    Layer layer(2, 3, k, /*seed=*/14);
    std::fill(layer.codes.begin(), layer.codes.end(), int8_t{127});
    std::fill(layer.x.begin(), layer.x.end(), 1.0F);
    layer.SetStatic(1.0F / 255.0F, 0);
    ASSERT_NO_FATAL_FAILURE(ExpectNear(layer.Run(kernel()), Expected(layer)))
        << k;
    layer.coding = ActivationCoding::kPerToken;
    layer.x[0] = -1.0F;
    ASSERT_NO_FATAL_FAILURE(ExpectNear(layer.Run(kernel()), Expected(layer)))
        << k;
  }
}

TEST_P(Int8LinearTest, WritesInsideItsBuffersOnly) {
  for (const size_t n : {1, 15, 64, 65, 100}) {
    const Layer layer(8, n, 37, /*seed=*/15);
    const auto linear = Int8Linear::CreateWith(kernel(), layer.Spec());
    ASSERT_TRUE(linear.ok());
    for (const auto side :
         {GuardedMemory::Side::kFront, GuardedMemory::Side::kBack}) {
      const GuardedMemory x(layer.x.size() * sizeof(float), side);
      const GuardedMemory y(8 * n * sizeof(float), side);
      const GuardedMemory residual(8 * n * sizeof(float), side);
      std::copy(layer.x.begin(), layer.x.end(), x.As<float>());
      std::fill_n(residual.As<float>(), 8 * n, 0.0F);
      LinearCall call;
      call.residual = {residual.As<float>(), 8, n};
      ASSERT_TRUE(
          linear->Run({x.As<float>(), 8, 37}, {y.As<float>(), 8, n}, call)
              .ok());
      const std::vector<float> copy(y.As<float>(), y.As<float>() + 8 * n);
      ASSERT_EQ(Bits(copy), Bits(layer.Run(kernel())));
    }
  }
}

TEST_P(Int8LinearTest, LeavesWhatLiesBetweenStridedRows) {
  const Layer layer(5, 33, 20, /*seed=*/16);
  const auto linear = Int8Linear::CreateWith(kernel(), layer.Spec());
  std::vector<float> y(5 * 50, 7.0F);
  ASSERT_TRUE(
      linear->Run({layer.x.data(), 5, 20}, {y.data(), 5, 33, 50}, {}).ok());
  const std::vector<float> dense = layer.Run(kernel());
  for (size_t i = 0; i < y.size(); ++i) {
    const float expected = i % 50 < 33 ? dense[i / 50 * 33 + i % 50] : 7.0F;
    ASSERT_EQ(y[i], expected) << i;
  }
}

// A y larger than L2 is asked for while tiles multiply; K may end before.
TEST_P(Int8LinearTest, LargeOutputIsNoDifferent) {
  constexpr size_t kRows = 50;
  constexpr size_t kColumns = 83;
  constexpr size_t kStride = 8192;
  for (const size_t k : {3, 20, 259, 1100}) {
    const Layer layer(kRows, kColumns, k, /*seed=*/17);
    const auto linear = Int8Linear::CreateWith(kernel(), layer.Spec());
    ASSERT_TRUE(linear.ok());
    std::vector<float> y(kRows * kStride);
    ASSERT_TRUE(linear
                    ->Run({layer.x.data(), kRows, k},
                          {y.data(), kRows, kColumns, kStride}, {})
                    .ok());
    const std::vector<float> dense = layer.Run(SelectKernel({}));
    for (size_t m = 0; m < kRows; ++m) {
      ASSERT_EQ(Bits(y.data() + m * kStride, kColumns),
                Bits(dense.data() + m * kColumns, kColumns))
          << "row " << m << ", K = " << k;
    }
  }
}

TEST_P(Int8LinearTest, TimesEveryPhaseThatTookPlace) {
  Layer layer(64, 256, 256, /*seed=*/17);
  layer.activation = Activation::kGelu;  // plain results may cost nothing
  // The sum of several runs: each has one sample, which an interrupt may spoil.
  const auto times_of_runs = [&] {
    PhaseTimes times;
    for (int run = 0; run < 9; ++run) layer.Run(kernel(), nullptr, &times);
    return times;
  };
  const PhaseTimes times = times_of_runs();
  EXPECT_GT(times.quantize_ns, 0);
  EXPECT_GT(times.dot_ns, 0);
  EXPECT_GT(times.dequantize_ns, 0);
  EXPECT_EQ(times.outlier_ns, 0);
  layer.SetOutliers({3, 9, 60}, 3.0F);
  EXPECT_GT(times_of_runs().outlier_ns, 0);
}

TEST_P(Int8LinearTest, NamesItsKernelAndCountsItsBytes) {
  const Layer layer(1, 384, 384, /*seed=*/18);
  const auto linear = Int8Linear::CreateWith(kernel(), layer.Spec());
  EXPECT_EQ(linear->kernel_name(), kernel().name);
  EXPECT_EQ(linear->isa(), IsaName(kernel().isa));
  EXPECT_EQ(linear->in_features(), 384);
  EXPECT_EQ(linear->out_features(), 384);
  EXPECT_GE(linear->packed_bytes(), 384 * 384);
  EXPECT_LE(linear->packed_bytes(), 384 * 384 * 4 * 26 / 100);
}

TEST(Int8Linear, NoRowsIsFine) {
  const Layer layer(1, 4, 5, /*seed=*/1);
  const auto linear = Int8Linear::Create(layer.Spec());
  EXPECT_TRUE(linear->Run({nullptr, 0, 5}, {nullptr, 0, 4}, {}).ok());
}

void ExpectRefused(const Int8LinearSpec& spec, const std::string& message) {
  const auto linear = Int8Linear::Create(spec);
  EXPECT_EQ(linear.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(linear.status().message()), HasSubstr(message));
}

// What is coded by the floor of InverseScale is scaled back by it, too.
TEST(Int8Linear, AScaleBelowTheNormalNumbersIsTheLeastOfThem) {
  const int8_t code = 1;
  const float scale = 1.0F;
  Int8LinearSpec spec;
  spec.codes = {&code, 1, 1};
  spec.scales = {&scale, 1};
  spec.coding = ActivationCoding::kStaticAffine;
  spec.input_scale = 1e-39F;
  const auto linear = Int8Linear::Create(spec);
  ASSERT_TRUE(linear.ok()) << linear.status();
  const float x = 1e-37F;
  float y = 0.0F;
  ASSERT_TRUE(linear->Run({&x, 1, 1}, {&y, 1, 1}, {}).ok());
  EXPECT_NEAR(y, x, std::numeric_limits<float>::min());
}

TEST(Int8Linear, RefusesWhatDoesNotFitByName) {
  Layer layer(2, 4, 5, /*seed=*/1);
  layer.SetOutliers({1, 3}, 6.0F);
  Int8LinearSpec spec = layer.Spec();
  spec.scales = spec.scales.subspan(1);
  ExpectRefused(spec, "scales holds 3 values");
  spec = layer.Spec();
  spec.bias = spec.bias.subspan(2);
  ExpectRefused(spec, "bias holds 2 values");
  spec = layer.Spec();
  spec.codes.rows = 0;
  ExpectRefused(spec, "codes has shape [0, 5]");
  spec = layer.Spec();
  spec.codes.stride = 4;
  ExpectRefused(spec, "stride 4");
  spec = layer.Spec();
  spec.outlier_weights.rows = 1;
  ExpectRefused(spec, "outlier_weights has shape [1, 4]");
  spec = layer.Spec();
  spec.outlier_threshold = std::nanf("");
  ExpectRefused(spec, "outlier_threshold");
  spec = layer.Spec();
  spec.coding = ActivationCoding::kStaticAffine;
  spec.input_zero_point = 256;
  ExpectRefused(spec, "input_zero_point is 256");
  spec.input_zero_point = 0;
  spec.input_scale = 0.0F;
  ExpectRefused(spec, "input_scale is 0");
  for (const float scale : {0.0F, -1.0F, std::nanf(""), HUGE_VALF}) {
    layer.scales[2] = scale;
    ExpectRefused(layer.Spec(), "scales[2]");
  }
}

TEST(Int8Linear, RefusesOutlierColumnsOutOfOrderOrRange) {
  Layer layer(2, 4, 5, /*seed=*/1);
  layer.SetOutliers({1, 3}, 0.0F);
  layer.columns = {3, 1};
  ExpectRefused(layer.Spec(), "outlier_columns[1] is 1");
  layer.columns = {3, 3};
  ExpectRefused(layer.Spec(), "outlier_columns[1] is 3");
  layer.columns = {-1, 3};
  ExpectRefused(layer.Spec(), "outlier_columns[0] is -1");
  layer.columns = {1, 5};
  ExpectRefused(layer.Spec(), "outlier_columns[1] is 5");
}

TEST(Int8Linear, RefusesInputsOfTheWrongShape) {
  const Layer layer(2, 4, 5, /*seed=*/1);
  const auto linear = Int8Linear::Create(layer.Spec());
  std::vector<float> y(8);
  const auto run = [&](size_t k, size_t rows, size_t n) {
    return std::string(
        linear->Run({layer.x.data(), 2, k}, {y.data(), rows, n}, {}).message());
  };
  EXPECT_THAT(run(4, 2, 4), HasSubstr("x has shape [2, 4]"));
  EXPECT_THAT(run(5, 1, 4), HasSubstr("y has shape [1, 4]"));
  EXPECT_THAT(run(5, 2, 3), HasSubstr("expected shape [2, 4]"));
}

}  // namespace
}  // namespace octet::kernels
