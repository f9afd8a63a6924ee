#include "kernels/float_layer_norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels_float/test_data.h"

namespace octet::kernels {
namespace {

TEST(LayerNorm, AgreesWithDoubleOnEveryInstructionSet) {
  for (const size_t width : {1, 2, 7, 16, 31, 33, 384, 1000}) {
    SCOPED_TRACE(width);
    TestMatrix x = Normal(1, width, 1, 3.0F);
    for (float& value : x.data) value += 5.0F;
    const TestMatrix weight = Normal(1, width, 2);
    const TestMatrix bias = Normal(1, width, 3);
    double mean = 0.0;
    for (const float value : x.data) mean += value;
    mean /= static_cast<double>(width);
    double variance = 0.0;
    for (const float value : x.data)
      variance += (value - mean) * (value - mean);
    variance /= static_cast<double>(width);
    for (const FloatCompanions* companions : CompanionsThisCpuRuns()) {
      SCOPED_TRACE(companions->isa);
      std::vector<float> y(width);
      companions->layer_norm({x.data.data(), y.data(), weight.data.data(),
                              bias.data.data(), width, 1e-5F});
      for (size_t i = 0; i < width; ++i) {
        const double expected =
            (x.data[i] - mean) / std::sqrt(variance + 1e-5) * weight.data[i] +
            bias.data[i];
        ASSERT_NEAR(y[i], expected, 1e-5) << "at " << i;
      }
    }
  }
}

TEST(LayerNorm, AConstantRowBecomesTheBias) {
  const TestMatrix bias = Normal(1, 20, 3);
  TestMatrix x(1, 20);
  for (float& value : x.data) value = 7.0F;
  const std::vector<float> weight(20, 2.0F);
  LayerNorm(x.view(), weight, bias.data, 1e-12F, x.view(), nullptr);
  EXPECT_EQ(x.data, bias.data);
}

TEST(LayerNorm, RowsDoNotDependOnTheirNeighboursNorTheThreads) {
  const TestMatrix x = Normal(2000, 50, 1);
  const TestMatrix weight = Normal(1, 50, 2);
  const TestMatrix bias = Normal(1, 50, 3);
  ThreadPool pool(3);
  TestMatrix crowd(2000, 50);
  LayerNorm(x.view(), weight.data, bias.data, 1e-5F, crowd.view(), &pool);
  for (const size_t row : {0, 655, 656, 1999}) {
    TestMatrix alone(1, 50);
    LayerNorm(x.view().Rows(row, 1), weight.data, bias.data, 1e-5F,
              alone.view(), nullptr);
    EXPECT_EQ(BitsOf(crowd.view().row(row), 50), BitsOf(alone.data.data(), 50));
  }
}

}  // namespace
}  // namespace octet::kernels
