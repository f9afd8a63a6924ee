// Smoothing and rotation in front of the codes: as if x had come transformed.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/hadamard.h"
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

std::vector<float> Factors(size_t k) {
  std::vector<float> factors(k);
  for (size_t i = 0; i < k; ++i) {
    factors[i] = 0.3F + 0.01F * static_cast<float>(i % 50);
  }
  return factors;
}

std::vector<float> Smoothed(const Layer& layer) {
  std::vector<float> x = layer.x;
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] *= layer.inverse_smoothing[i % layer.k];
  }
  return x;
}

class Transforms : public EveryKernel {};
OCTET_INSTANTIATE_FOR_EVERY_KERNEL(Transforms);

TEST_P(Transforms, SmoothingIsOneProductBeforeEverythingElse) {
  for (const size_t k : {1, 31, 77, 200}) {
    Layer layer(8, 40, k, /*seed=*/61);
    layer.SetOutliers({0}, 1.2F);
    Layer plain = layer;
    layer.inverse_smoothing = Factors(k);
    plain.x = Smoothed(layer);
    EXPECT_EQ(Bits(layer.Run(kernel())), Bits(plain.Run(kernel())))
        << "seed 61, K " << k;
  }
}

TEST_P(Transforms, RotationComesAfterSmoothing) {
  for (const size_t k : {1, 31, 128, 200}) {
    for (const bool is_static : {false, true}) {
      Layer layer(8, 40, k, /*seed=*/62);
      if (is_static) layer.SetStatic(0.02F, 120);
      layer.threshold = 2.2F;
      Layer plain = layer;
      layer.inverse_smoothing = Factors(k);
      layer.hadamard_block = 64;
      plain.x = Smoothed(layer);
      RotateRows({plain.x.data(), 8, k}, 64);
      EXPECT_EQ(Bits(layer.Run(kernel())), Bits(plain.Run(kernel())))
          << "seed 62, K " << k;
    }
  }
}

// Columns leave before the rotation, and keep their smoothed values.
TEST_P(Transforms, OutlierColumnsAreTakenOutBeforeTheRotation) {
  constexpr size_t kK = 150;
  Layer layer(6, 33, kK, /*seed=*/63);
  layer.SetOutliers({2, 70, 149}, 0.0F);
  layer.inverse_smoothing = Factors(kK);
  layer.hadamard_block = 128;
  for (size_t m = 0; m < layer.m; ++m) layer.x[m * kK + 70] = 500.0F;
  const std::vector<float> y = layer.Run(kernel());

  const std::vector<float> smoothed = Smoothed(layer);
  Layer rest = layer;
  rest.inverse_smoothing.clear();
  rest.hadamard_block = 0;
  rest.columns.clear();
  rest.fp16.clear();
  rest.x = smoothed;
  for (size_t m = 0; m < layer.m; ++m) {
    for (const int32_t column : layer.columns) rest.x[m * kK + column] = 0.0F;
  }
  RotateRows({rest.x.data(), layer.m, kK}, 128);
  const std::vector<float> inside = rest.Run(kernel());
  for (size_t m = 0; m < layer.m; ++m) {
    for (size_t n = 0; n < layer.n; ++n) {
      double expected = inside[m * layer.n + n];
      for (size_t j = 0; j < layer.columns.size(); ++j) {
        expected += double{smoothed[m * kK + layer.columns[j]]} *
                    Fp16ToFloat(layer.fp16[j * layer.n + n]);
      }
      ASSERT_NEAR(y[m * layer.n + n], expected,
                  1e-5 * std::max(1.0, std::fabs(expected)))
          << "seed 63, " << m << ", " << n;
    }
  }
}

// y of rotated weights is y of the weights, up to rounding.
TEST_P(Transforms, RotatedWeightsGiveTheSameProduct) {
  constexpr size_t kK = 200;
  constexpr size_t kN = 24;
  const std::vector<float> w = RandomFloats(kN * kK, 64);
  std::vector<float> rotated = w;
  RotateRows({rotated.data(), kN, kK}, 64);
  Layer layer(4, kN, kK, /*seed=*/65);
  layer.hadamard_block = 64;
  for (size_t n = 0; n < kN; ++n) {
    float absmax = 0.0F;
    for (size_t i = 0; i < kK; ++i) {
      absmax = std::max(absmax, std::fabs(rotated[n * kK + i]));
    }
    layer.scales[n] = AbsmaxToScale(absmax);
    for (size_t i = 0; i < kK; ++i) {
      layer.codes[n * kK + i] = static_cast<int8_t>(
          SymmetricCode(rotated[n * kK + i], InverseScale(layer.scales[n])));
    }
  }
  const std::vector<float> y = layer.Run(kernel());
  for (size_t m = 0; m < layer.m; ++m) {
    for (size_t n = 0; n < kN; ++n) {
      double expected = layer.bias[n];
      for (size_t i = 0; i < kK; ++i) {
        expected += double{layer.x[m * kK + i]} * w[n * kK + i];
      }
      // sqrt(K) * sigma * the steps' own error: half a percent of 14.
      ASSERT_NEAR(y[m * kN + n], expected, 0.6) << "seeds 64 and 65";
    }
  }
}

TEST_P(Transforms, RowsDoNotDependOnNeighboursOrThreads) {
  Layer crowd(130, 140, 900, /*seed=*/66);
  crowd.inverse_smoothing = Factors(900);
  crowd.hadamard_block = 256;
  crowd.SetOutliers({4, 800}, 2.5F);
  crowd.SetGroups(64);
  const std::vector<float> y = crowd.Run(kernel());
  EXPECT_EQ(Bits(y), Bits(crowd.Run(SelectKernel({})))) << "seed 66";
  for (const size_t at : {0, 76, 129}) {
    Layer alone = crowd;
    alone.m = 1;
    alone.x.assign(crowd.x.begin() + static_cast<ptrdiff_t>(at * 900),
                   crowd.x.begin() + static_cast<ptrdiff_t>((at + 1) * 900));
    EXPECT_EQ(Bits(alone.Run(kernel())), Bits(y.data() + at * 140, 140))
        << "seed 66, row " << at;
  }
  for (const size_t threads : {2, 3}) {
    ThreadPool pool(threads);
    EXPECT_EQ(Bits(crowd.Run(kernel(), &pool)), Bits(y)) << threads;
  }
}

// In an outlier column, in the rest, or only by the transform.
TEST_P(Transforms, NonFiniteRowIsNaNAndOnlyThatRow) {
  const float largest = std::numeric_limits<float>::max();
  for (const float bad : {std::nanf(""), HUGE_VALF, largest}) {
    for (const size_t column : {2, 50}) {
      Layer layer(5, 40, 97, /*seed=*/67);
      layer.inverse_smoothing = std::vector<float>(97, 4.0F);
      layer.hadamard_block = 32;
      layer.SetOutliers({2}, 0.0F);
      const std::vector<float> good = layer.Run(kernel());
      layer.x[size_t{3} * 97 + column] = bad;
      const std::vector<float> y = layer.Run(kernel());
      for (size_t i = 0; i < y.size(); ++i) {
        if (i / 40 == 3) {
          ASSERT_TRUE(std::isnan(y[i])) << "seed 67, " << i;
        } else {
          ASSERT_EQ(y[i], good[i]) << "seed 67, " << i;
        }
      }
    }
  }
}

TEST(TransformSpec, IsRefusedByName) {
  const auto refused = [](const Layer& layer) {
    return std::string(Int8Linear::Create(layer.Spec()).status().message());
  };
  Layer layer(1, 4, 100, /*seed=*/1);
  layer.inverse_smoothing = Factors(99);
  EXPECT_THAT(refused(layer), HasSubstr("inverse_smoothing holds 99 values; "
                                        "codes has 100 columns"));
  layer.inverse_smoothing = Factors(100);
  layer.inverse_smoothing[7] = -1.0F;
  EXPECT_THAT(refused(layer), HasSubstr("inverse_smoothing[7] is -1"));
  layer.inverse_smoothing.clear();
  layer.hadamard_block = 48;
  EXPECT_THAT(refused(layer), HasSubstr("hadamard_block is 48"));
}

}  // namespace
}  // namespace octet::kernels
