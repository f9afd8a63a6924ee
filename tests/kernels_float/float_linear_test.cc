#include "kernels/float_linear.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/half.h"
#include "tests/kernels_float/test_data.h"

namespace octet::kernels {
namespace {

using testing::HasSubstr;

// The largest distance to the sum in double, relative to sum |x||w|.
double Error(const TestMatrix& x, const TestMatrix& w, const TestMatrix& y) {
  double worst = 0.0;
  for (size_t m = 0; m < x.rows; ++m) {
    for (size_t n = 0; n < w.rows; ++n) {
      double sum = 0.0;
      double size = 0.0;
      for (size_t k = 0; k < x.cols; ++k) {
        const double product =
            static_cast<double>(x.view().row(m)[k]) * w.view().row(n)[k];
        sum += product;
        size += std::abs(product);
      }
      worst = std::max(worst, std::abs(sum - y.view().row(m)[n]) / size);
    }
  }
  return worst;
}

struct Variant {
  const char* name;
  absl::StatusOr<FloatLinear> (*make)(const TestMatrix& w,
                                      absl::Span<const float> bias);
};

absl::StatusOr<FloatLinear> Make16(FloatType type, const TestMatrix& w,
                                   absl::Span<const float> bias) {
  std::vector<uint16_t> bits;
  for (const float value : w.data) {
    bits.push_back(type == FloatType::kFp16 ? FloatToFp16(value)
                                            : FloatToBf16(value));
  }
  return FloatLinear::Create16(type, {bits.data(), w.rows, w.cols}, bias);
}

class FloatLinearVariants : public testing::TestWithParam<Variant> {};

INSTANTIATE_TEST_SUITE_P(
    Variants, FloatLinearVariants,
    testing::Values(
        Variant{"auto",
                [](const TestMatrix& w, absl::Span<const float> bias) {
                  return FloatLinear::Create(w.view(), bias);
                }},
        Variant{"panels",
                [](const TestMatrix& w, absl::Span<const float> bias) {
                  return FloatLinear::Create(w.view(), bias,
                                             FloatBackend::kPanels);
                }},
        Variant{"fp16",
                [](const TestMatrix& w, absl::Span<const float> bias) {
                  return Make16(FloatType::kFp16, w, bias);
                }},
        Variant{"bf16",
                [](const TestMatrix& w, absl::Span<const float> bias) {
                  return Make16(FloatType::kBf16, w, bias);
                }}),
    [](const auto& info) { return std::string(info.param.name); });

// Weights that BF16 and FP16 hold exactly.
TestMatrix ShortWeights(size_t n, size_t k, uint32_t seed) {
  TestMatrix w = Normal(n, k, seed);
  for (float& value : w.data) value = std::round(value * 16.0F) / 16.0F;
  return w;
}

TEST_P(FloatLinearVariants, AgreesWithDouble) {
  for (const auto& [m, n, k] : std::vector<std::array<size_t, 3>>{
           {1, 1, 1}, {3, 5, 7}, {70, 37, 100}, {13, 500, 33}, {65, 64, 384}}) {
    const TestMatrix x = Normal(m, k, 1);
    const TestMatrix w = ShortWeights(n, k, 2);
    const auto linear = GetParam().make(w, {});
    ASSERT_TRUE(linear.ok()) << linear.status();
    TestMatrix y(m, n);
    ASSERT_TRUE(linear->Run(x.view(), y.view(), {}).ok());
    EXPECT_LT(Error(x, w, y), 1e-6) << m << "x" << k << "x" << n;
  }
}

TEST_P(FloatLinearVariants, RowsDoNotDependOnTheirNeighboursNorTheThreads) {
  const TestMatrix x = Normal(131, 100, 1);
  const TestMatrix w = ShortWeights(450, 100, 2);
  const auto linear = GetParam().make(w, {});
  ASSERT_TRUE(linear.ok()) << linear.status();
  ThreadPool pool(3);
  LinearCall threaded;
  threaded.pool = &pool;
  TestMatrix crowd(131, 450);
  ASSERT_TRUE(linear->Run(x.view(), crowd.view(), threaded).ok());
  for (size_t row = 0; row < x.rows; ++row) {
    TestMatrix alone(1, 450);
    ASSERT_TRUE(linear->Run(x.view().Rows(row, 1), alone.view(), {}).ok());
    ASSERT_EQ(BitsOf(crowd.view().row(row), 450),
              BitsOf(alone.data.data(), 450))
        << "row " << row;
  }
}

TEST_P(FloatLinearVariants, BiasThenActivationThenResidual) {
  TestMatrix w(2, 1);
  w.data = {1.0F, -1.0F};
  const auto linear = GetParam().make(w, std::vector<float>{0.5F, 1.0F});
  ASSERT_TRUE(linear.ok()) << linear.status();
  const TestMatrix x = [] {
    TestMatrix one(1, 1);
    one.data = {2.0F};
    return one;
  }();
  TestMatrix residual(1, 2);
  residual.data = {-10.0F, 100.0F};
  LinearCall call;
  call.activation = Activation::kRelu;
  call.residual = residual.view();
  TestMatrix y(1, 2);
  ASSERT_TRUE(linear->Run(x.view(), y.view(), call).ok());
  EXPECT_THAT(y.data, testing::ElementsAre(-7.5F, 100.0F));
}

TEST_P(FloatLinearVariants, StridesWiderThanRows) {
  const TestMatrix x = Normal(9, 40, 1);
  const TestMatrix w = ShortWeights(20, 30, 2);
  const auto linear = GetParam().make(w, {});
  ASSERT_TRUE(linear.ok()) << linear.status();
  TestMatrix wide(9, 25);
  ASSERT_TRUE(
      linear->Run(x.view().Columns(5, 30), wide.view().Columns(2, 20), {})
          .ok());
  TestMatrix packed(9, 30);
  for (size_t m = 0; m < 9; ++m) {
    std::copy_n(x.view().row(m) + 5, 30, packed.view().row(m));
  }
  TestMatrix y(9, 20);
  ASSERT_TRUE(linear->Run(packed.view(), y.view(), {}).ok());
  for (size_t m = 0; m < 9; ++m) {
    EXPECT_EQ(BitsOf(wide.view().row(m) + 2, 20), BitsOf(y.view().row(m), 20));
    EXPECT_EQ(wide.view().row(m)[1], 0.0F);
    EXPECT_EQ(wide.view().row(m)[22], 0.0F);
  }
}

TEST_P(FloatLinearVariants, NoRowsIsNoWork) {
  const auto linear = GetParam().make(ShortWeights(3, 4, 1), {});
  ASSERT_TRUE(linear.ok()) << linear.status();
  TestMatrix x(0, 4), y(0, 3);
  EXPECT_TRUE(linear->Run(x.view(), y.view(), {}).ok());
}

TEST(FloatLinear, ShapesThatDoNotFitAreNamed) {
  const TestMatrix w = Normal(3, 4, 1);
  EXPECT_THAT(std::string(FloatLinear::Create(w.view(), std::vector<float>(2))
                              .status()
                              .message()),
              HasSubstr("bias"));
  const auto linear = FloatLinear::Create(w.view(), {});
  ASSERT_TRUE(linear.ok());
  TestMatrix x(2, 5), y(2, 3);
  EXPECT_THAT(
      std::string(linear->Run(x.view(), y.view(), {}).message()),
      HasSubstr("x has shape [2, 5] and stride 5; expected shape [2, 4]"));
}

TEST(FloatLinear, RowsThatOverlapAndMissingDataAreNamed) {
  const TestMatrix w = Normal(3, 4, 1);
  MatrixView<const float> weight = w.view();
  weight.stride = 3;
  EXPECT_THAT(std::string(FloatLinear::Create(weight, {}).status().message()),
              HasSubstr("weight has shape [3, 4] and stride 3"));
  const auto linear = FloatLinear::Create(w.view(), {});
  ASSERT_TRUE(linear.ok());
  TestMatrix x(2, 4), y(2, 3);
  MatrixView<const float> no_x = x.view();
  no_x.data = nullptr;
  EXPECT_THAT(std::string(linear->Run(no_x, y.view(), {}).message()),
              HasSubstr("x has no data"));
  MatrixView<float> narrow = y.view();
  narrow.stride = 2;
  EXPECT_THAT(std::string(linear->Run(x.view(), narrow, {}).message()),
              HasSubstr("y has shape [2, 3] and stride 2"));
}

TEST(FloatLinear, SixteenBitWeightsStaySixteenBit) {
  const auto linear = Make16(FloatType::kBf16, Normal(384, 384, 1), {});
  ASSERT_TRUE(linear.ok());
  EXPECT_EQ(linear->packed_bytes(), 384 * 384 * 2);
}

// All finite FP16 values and the special ones, through every widening path.
TEST(PanelFp16, WidensEveryBitPattern) {
  for (const FloatCompanions* companions : CompanionsThisCpuRuns()) {
    SCOPED_TRACE(companions->isa);
    const size_t cols = companions->panel_cols;
    for (uint32_t first = 0; first < 0x10000; first += cols) {
      std::vector<uint16_t> panel(cols);
      for (size_t i = 0; i < cols; ++i) panel[i] = uint16_t(first + i);
      const float one = 1.0F;
      std::vector<float> y(cols);
      companions->panel_fp16(
          {&one, 1, 1, panel.data(), 1, y.data(), cols, cols});
      for (size_t i = 0; i < cols; ++i) {
        const float expected = Fp16ToFloat(panel[i]);
        if (std::isnan(expected)) {
          ASSERT_TRUE(std::isnan(y[i])) << panel[i];
        } else {
          ASSERT_EQ(y[i], expected) << panel[i];
        }
      }
    }
  }
}

}  // namespace
}  // namespace octet::kernels
