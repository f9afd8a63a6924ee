#include "kernels/float_rms_norm.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels_float/test_data.h"

namespace octet::kernels {
namespace {

TEST(RmsNorm, AgreesWithDoubleOnEveryInstructionSet) {
  for (const size_t width : {1, 2, 7, 16, 31, 33, 64, 100, 384, 576, 1000}) {
    SCOPED_TRACE(width);
    TestMatrix x = Normal(1, width, 1, 3.0F);
    for (float& value : x.data) value += 1.0F;
    const TestMatrix weight = Normal(1, width, 2);
    double square = 0.0;
    for (const float value : x.data) square += double{value} * value;
    square /= static_cast<double>(width);
    for (const FloatCompanions* companions : CompanionsThisCpuRuns()) {
      SCOPED_TRACE(companions->isa);
      std::vector<float> y(width);
      companions->rms_norm(
          {x.data.data(), y.data(), weight.data.data(), width, 1e-5F});
      for (size_t i = 0; i < width; ++i) {
        const double expected =
            x.data[i] / std::sqrt(square + 1e-5) * weight.data[i];
        ASSERT_NEAR(y[i], expected, 2e-6 * (1 + std::fabs(expected)))
            << "at " << i;
      }
    }
  }
}

TEST(RmsNorm, ARowOfZerosStaysOne) {
  TestMatrix x(1, 20);
  const std::vector<float> weight(20, 2.0F);
  RmsNorm(x.view(), weight, 1e-6F, x.view(), nullptr);
  EXPECT_EQ(x.data, std::vector<float>(20, 0.0F));
}

TEST(RmsNorm, RowsDoNotDependOnTheirNeighboursNorTheThreads) {
  const TestMatrix x = Normal(2000, 50, 1);
  const TestMatrix weight = Normal(1, 50, 2);
  ThreadPool pool(3);
  TestMatrix crowd(2000, 50);
  RmsNorm(x.view(), weight.data, 1e-5F, crowd.view(), &pool);
  for (const size_t row : {0, 655, 656, 1999}) {
    TestMatrix alone(1, 50);
    RmsNorm(x.view().Rows(row, 1), weight.data, 1e-5F, alone.view(), nullptr);
    EXPECT_EQ(BitsOf(crowd.view().row(row), 50), BitsOf(alone.data.data(), 50));
  }
}

}  // namespace
}  // namespace octet::kernels
