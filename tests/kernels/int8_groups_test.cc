// A scale per group of K.

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
#include "kernels/int8_linear.h"
#include "kernels/registry.h"
#include "kernels/rounding.h"
#include "kernels/thread_pool.h"
#include "tests/kernels/kernel_testing.h"
#include "tests/kernels/layer_testing.h"

namespace octet::kernels {
namespace {

using ::testing::HasSubstr;

// The formula of the header in double, from exact codes of one row and column.
double ExpectedAt(const Layer& layer, size_t m, size_t n) {
  const float* x = layer.x.data() + m * layer.k;
  const auto column_of = [&](size_t i) {
    return std::find(layer.columns.begin(), layer.columns.end(), i) -
           layer.columns.begin();
  };
  const auto is_column = [&](size_t i) {
    return column_of(i) < static_cast<ptrdiff_t>(layer.columns.size());
  };
  const auto is_live = [&](size_t i) {
    return layer.threshold > 0 && std::fabs(x[i]) >= layer.threshold;
  };
  float absmax = 0.0F;
  for (size_t i = 0; i < layer.k; ++i) {
    if (!is_column(i) && !is_live(i))
      absmax = std::max(absmax, std::fabs(x[i]));
  }
  const bool dynamic = layer.coding == ActivationCoding::kPerToken;
  const float scale = dynamic ? AbsmaxToScale(absmax) : layer.input_scale;
  const float inverse = InverseScale(scale);
  double y = layer.bias[n];
  for (size_t i = 0; i < layer.k; ++i) {
    const double w =
        double{layer.scales[n * layer.groups() + i / layer.group_size]} *
        layer.codes[n * layer.k + i];
    if (is_column(i)) {
      const size_t at = static_cast<size_t>(column_of(i)) * layer.n + n;
      y += double{x[i]} * Fp16ToFloat(layer.fp16[at]);
    } else if (is_live(i)) {
      y += double{x[i]} * w;
    } else {
      const int code = dynamic
                           ? SymmetricCode(x[i], inverse)
                           : AffineCode(x[i], inverse, layer.input_zero_point) -
                                 layer.input_zero_point;
      y += double{scale} * code * w;
    }
  }
  return y;
}

void ExpectFormula(const Layer& layer, const std::vector<float>& y) {
  for (size_t m = 0; m < layer.m; ++m) {
    for (size_t n = 0; n < layer.n; ++n) {
      const double expected = ExpectedAt(layer, m, n);
      const double bound = 2e-5 * std::max(1.0, std::fabs(expected));
      ASSERT_NEAR(y[m * layer.n + n], expected, bound) << m << ", " << n;
    }
  }
}

class Int8Groups : public EveryKernel {};
OCTET_INSTANTIATE_FOR_EVERY_KERNEL(Int8Groups);

TEST_P(Int8Groups, AgreeWithTheFormulaInDouble) {
  for (const size_t size : {32, 64, 128, 256}) {
    for (const auto& [m, n, k] :
         {std::tuple{1, 1, 1}, {1, 1, 300}, {7, 71, 129}, {9, 40, 513}}) {
      Layer layer(m, n, k, /*seed=*/41);
      layer.SetGroups(size);
      SCOPED_TRACE("seed 41, group " + std::to_string(size) + ", K " +
                   std::to_string(k));
      ASSERT_NO_FATAL_FAILURE(ExpectFormula(layer, layer.Run(kernel())));
      layer.SetStatic(0.02F, 111);
      ASSERT_NO_FATAL_FAILURE(ExpectFormula(layer, layer.Run(kernel())));
      layer.SetOutliers({0}, 2.0F);
      ASSERT_NO_FATAL_FAILURE(ExpectFormula(layer, layer.Run(kernel())));
    }
  }
}

TEST_P(Int8Groups, AreBitEqualToTheReference) {
  for (const size_t size : {32, 128}) {
    for (const auto& [m, n, k] :
         {std::tuple{1, 95, 77}, {8, 64, 384}, {50, 83, 1025}}) {
      Layer layer(m, n, k, /*seed=*/42);
      layer.SetGroups(size);
      layer.SetOutliers({3, 50}, 2.5F);
      layer.activation = Activation::kSilu;
      layer.with_residual = true;
      EXPECT_EQ(Bits(layer.Run(kernel())), Bits(layer.Run(SelectKernel({}))))
          << "seed 42, group " << size << ", K " << k;
    }
  }
}

TEST_P(Int8Groups, RowsDoNotDependOnNeighboursOrThreads) {
  Layer crowd(150, 140, 900, /*seed=*/43);
  crowd.SetGroups(64);
  crowd.SetOutliers({4}, 3.0F);
  const std::vector<float> y = crowd.Run(kernel());
  for (const size_t at : {0, 77, 149}) {
    Layer alone = crowd;
    alone.m = 1;
    alone.x.assign(crowd.x.begin() + static_cast<ptrdiff_t>(at * 900),
                   crowd.x.begin() + static_cast<ptrdiff_t>((at + 1) * 900));
    EXPECT_EQ(Bits(alone.Run(kernel())), Bits(y.data() + at * 140, 140))
        << "seed 43, row " << at;
  }
  for (const size_t threads : {2, 3}) {
    ThreadPool pool(threads);
    EXPECT_EQ(Bits(crowd.Run(kernel(), &pool)), Bits(y)) << threads;
  }
}

// More than L2 holds: few rows take them group by group there.
TEST_P(Int8Groups, WeightsBeyondL2GiveEveryNumberOfRowsTheSameBits) {
  constexpr size_t kN = 600;
  constexpr size_t kMostRows = 13;
  for (const size_t size : {32, 128}) {
    Layer layer(kMostRows, kN, 2050, /*seed=*/46);
    layer.SetGroups(size);
    layer.SetOutliers({4}, 3.0F);
    const std::vector<float> expected = layer.Run(SelectKernel({}));
    for (size_t rows = 1; rows <= kMostRows; ++rows) {
      layer.m = rows;
      EXPECT_EQ(Bits(layer.Run(kernel())), Bits(expected.data(), rows * kN))
          << "seed 46, group " << size << ", " << rows << " rows";
    }
  }
}

// Each group's sum is exact however long K is.
TEST_P(Int8Groups, HoldWhereOneSumWouldOverflow) {
  Layer layer(2, 3, 140'001, /*seed=*/44);
  layer.SetGroups(256);
  std::fill(layer.codes.begin(), layer.codes.end(), int8_t{-128});
  std::fill(layer.scales.begin(), layer.scales.end(), 0.001F);
  std::fill(layer.x.begin(), layer.x.end(), 1.0F);
  layer.SetStatic(1.0F / 255.0F, 0);
  ExpectFormula(layer, layer.Run(kernel()));
}

TEST_P(Int8Groups, NonFiniteRowIsNaNAndOnlyThatRow) {
  Layer layer(9, 70, 97, /*seed=*/45);
  layer.SetGroups(32);
  layer.x[5 * layer.k + 96] = std::numeric_limits<float>::infinity();
  const std::vector<float> y = layer.Run(kernel());
  for (size_t i = 0; i < y.size(); ++i) {
    ASSERT_EQ(std::isnan(y[i]), i / layer.n == 5) << "seed 45, " << i;
  }
}

TEST(Int8GroupSpec, IsRefusedByName) {
  const auto refused = [](const Layer& layer) {
    return std::string(Int8Linear::Create(layer.Spec()).status().message());
  };
  Layer layer(1, 4, 100, /*seed=*/1);
  layer.SetGroups(32);
  layer.scales.pop_back();
  EXPECT_THAT(refused(layer), HasSubstr("scales holds 15 values; codes has 4 "
                                        "rows of 4 groups of 32"));
  layer.SetGroups(48);
  EXPECT_THAT(refused(layer), HasSubstr("group_size is 48"));
  layer.SetGroups(64);
  layer.scales[5] = 0.0F;
  EXPECT_THAT(refused(layer), HasSubstr("scales[5] is 0"));
}

}  // namespace
}  // namespace octet::kernels
