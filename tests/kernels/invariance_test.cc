// A row's result is bit-identical whatever rows are around it and however many
// threads compute them, on every kernel, with everything that a layer can do.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/activation.h"
#include "kernels/int8_linear.h"
#include "kernels/linear_partition.h"
#include "kernels/small_work.h"
#include "kernels/thread_pool.h"
#include "tests/kernels/kernel_testing.h"
#include "tests/kernels/layer_testing.h"

namespace octet::kernels {
namespace {

struct Feature {
  const char* name;
  void (*apply)(Layer& layer);
};

constexpr Feature kFeatures[] = {
    {"per token", [](Layer&) {}},
    {"static", [](Layer& layer) { layer.SetStatic(0.02F, 119); }},
    {"outlier columns",
     [](Layer& layer) { layer.SetOutliers({0, 9, 64}, 0.0F); }},
    {"live outliers", [](Layer& layer) { layer.SetOutliers({}, 2.0F); }},
    {"residual", [](Layer& layer) { layer.with_residual = true; }},
    {"activation", [](Layer& layer) { layer.activation = Activation::kGelu; }},
    {"everything", [](Layer& layer) {
       layer.SetStatic(0.03F, 7);
       layer.SetOutliers({5, 63, 64}, 2.0F);
       layer.with_residual = true;
       layer.activation = Activation::kSilu;
     }}};

constexpr size_t kSliceBytes = size_t{32} << 10;

class Invariance : public EveryKernel {};
OCTET_INSTANTIATE_FOR_EVERY_KERNEL(Invariance);

struct Shape {
  size_t m;
  size_t n;
  size_t k;
};

// All are worth threads: few rows and many panels, many rows, odd numbers.
constexpr Shape kThreadedShapes[] = {
    {1, 2050, 1030}, {5, 2050, 515}, {64, 200, 260}, {131, 333, 101}};

TEST_P(Invariance, ThreadsDoNotChangeABit) {
  for (const Shape& shape : kThreadedShapes) {
    ASSERT_TRUE(
        Divide({shape.m, shape.n, shape.k}, kernel(), 5, kSliceBytes).parallel)
        << "this shape would say nothing about threads";
    for (const Feature& feature : kFeatures) {
      Layer layer(shape.m, shape.n, shape.k, /*seed=*/61);
      feature.apply(layer);
      const auto alone = Bits(layer.Run(kernel()));
      for (const size_t threads : {1, 2, 3, 5}) {
        ThreadPool pool(threads);
        ASSERT_EQ(Bits(layer.Run(kernel(), &pool)), alone)
            << feature.name << ", " << shape.m << " rows, " << threads
            << " threads, seed 61";
      }
    }
  }
}

// One row among others that try everything to disturb it: outliers, large
// values, zeros, a NaN.
Layer CrowdAround(const Layer& alone, size_t rows, size_t at) {
  Layer crowd(rows, alone.n, alone.k, /*seed=*/63);
  crowd.codes = alone.codes;
  crowd.scales = alone.scales;
  crowd.bias = alone.bias;
  for (size_t i = 0; i < crowd.x.size(); i += 89) crowd.x[i] = 1e6F;
  crowd.x[(at + 1) % rows * alone.k] = std::nanf("");
  std::copy(alone.x.begin(), alone.x.end(), crowd.x.begin() + at * alone.k);
  std::copy(alone.residual.begin(), alone.residual.end(),
            crowd.residual.begin() + at * alone.n);
  return crowd;
}

TEST_P(Invariance, ABatchDoesNotChangeARow) {
  constexpr size_t kN = 77;
  ThreadPool pool(3);
  for (const Feature& feature : kFeatures) {
    Layer alone(1, kN, 201, /*seed=*/62);
    feature.apply(alone);
    const auto expected = Bits(alone.Run(kernel()));
    for (const size_t rows : {2, 3, 6, 7, 8, 13, 64, 200}) {
      for (const size_t at : {size_t{0}, rows / 2, rows - 1}) {
        Layer crowd = CrowdAround(alone, rows, at);
        feature.apply(crowd);
        const std::vector<float> y = crowd.Run(kernel(), &pool);
        ASSERT_EQ(Bits(y.data() + at * kN, kN), expected)
            << feature.name << ", row " << at << " of " << rows
            << ", seeds 62 and 63";
      }
    }
  }
}

// The documented size under which nobody is woken.
TEST_P(Invariance, SmallWorkStaysOnTheCallingThread) {
  constexpr size_t kSmall = 2 * kMinTaskProducts - 1;
  for (const size_t m : {1, 2, 8, 100, 10000}) {
    const size_t k = 64;
    const size_t n = kSmall / m / k;
    EXPECT_FALSE(Divide({m, n, k}, kernel(), 64, kSliceBytes).parallel) << m;
  }
  EXPECT_TRUE(Divide({2, 2048, 512}, kernel(), 2, kSliceBytes).parallel);
}

}  // namespace
}  // namespace octet::kernels
