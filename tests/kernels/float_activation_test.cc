#include "kernels/float_activation.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/activation.h"
#include "tests/kernels/kernel_testing.h"

namespace octet::kernels {
namespace {

constexpr Activation kAll[] = {Activation::kNone, Activation::kRelu,
                               Activation::kGelu, Activation::kGeluTanh,
                               Activation::kSilu, Activation::kTanh};

double Exact(Activation activation, double x) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return x > 0 ? x : 0;
    case Activation::kGelu:
      return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
    case Activation::kGeluTanh:
      return 0.5 * x *
             (1 +
              std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::kSilu:
      return x / (1 + std::exp(-x));
    case Activation::kTanh:
      return std::tanh(x);
  }
  return x;
}

// Dense where functions bend, and every magnitude of FP32.
std::vector<float> Inputs() {
  std::vector<float> inputs;
  for (int i = -200000; i <= 200000; ++i) {
    inputs.push_back(static_cast<float>(i) * 1e-4F);
  }
  for (float x = 1e-40F; x < 1e38F; x *= 1.01F) {
    inputs.push_back(x);
    inputs.push_back(-x);
  }
  return inputs;
}

class FloatActivation : public EveryKernel {
 protected:
  std::vector<float> Run(Activation activation, std::vector<float> x) {
    kernel().ops->activate(activation, x.data(), x.size());
    return x;
  }

  // Largest absolute error beyond what rounding the exact value costs.
  double WorstErrorBeyondRounding(Activation activation) {
    const std::vector<float> x = Inputs();
    const std::vector<float> y = Run(activation, x);
    double worst = 0.0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double exact = Exact(activation, x[i]);
      const double rounding = 0x1p-24 * std::fabs(exact);
      worst = std::max(worst, std::fabs(y[i] - exact) - rounding);
    }
    return worst;
  }

  // Largest absolute error; or error over the exact value's magnitude, where
  // that is a normal number.
  double WorstError(Activation activation, bool relative) {
    const std::vector<float> x = Inputs();
    const std::vector<float> y = Run(activation, x);
    double worst = 0.0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double exact = Exact(activation, x[i]);
      if (relative && std::fabs(exact) < 1e-34) continue;
      const double error = std::fabs(y[i] - exact);
      worst = std::max(worst, relative ? error / std::fabs(exact) : error);
    }
    return worst;
  }
};
OCTET_INSTANTIATE_FOR_EVERY_KERNEL(FloatActivation);

TEST_P(FloatActivation, StaysWithinTheStatedBounds) {
  EXPECT_EQ(WorstError(Activation::kRelu, false), 0.0);
  EXPECT_LE(WorstErrorBeyondRounding(Activation::kGelu), 1.2e-7);
  EXPECT_LE(WorstErrorBeyondRounding(Activation::kGeluTanh), 2e-7);
  EXPECT_LE(WorstError(Activation::kSilu, true), 1e-6);
  EXPECT_LE(WorstError(Activation::kTanh, true), 1e-6);
}

TEST_P(FloatActivation, IsBitEqualToTheReference) {
  const std::vector<float> x = Inputs();
  for (const Activation activation : kAll) {
    std::vector<float> reference = x;
    SelectKernel({}).ops->activate(activation, reference.data(), x.size());
    EXPECT_EQ(Bits(Run(activation, x)), Bits(reference));
  }
}

TEST_P(FloatActivation, KeepsNaNAndSaturatesAtInfinity) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const Activation activation : kAll) {
    const auto y = Run(activation, {std::nanf(""), infinity, -infinity, 0.0F});
    EXPECT_TRUE(std::isnan(y[0]));
    EXPECT_EQ(y[1], activation == Activation::kTanh ? 1.0F : infinity);
    if (activation == Activation::kNone) continue;
    EXPECT_NEAR(y[2], activation == Activation::kTanh ? -1.0F : 0.0F, 1e-6F);
    EXPECT_EQ(y[3], 0.0F);
  }
}

TEST(Activate, TouchesOnlyTheViewsColumns) {
  std::vector<float> values(4 * 10, -1.0F);
  Activate(Activation::kRelu, {values.data() + 1, 4, 7, 10});
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t column = i % 10;
    EXPECT_EQ(values[i], column >= 1 && column < 8 ? 0.0F : -1.0F) << i;
  }
}

}  // namespace
}  // namespace octet::kernels
