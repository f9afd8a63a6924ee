// oneDNN as the code that multiplies: the bits of everything must be those of
// our own kernels, whatever stands around the product.

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cpu_features.h"
#include "kernels/int8_linear.h"
#include "kernels/phase_clock.h"
#include "kernels/registry.h"
#include "kernels/thread_pool.h"
#include "tests/kernels/kernel_testing.h"
#include "tests/kernels/layer_testing.h"

namespace octet::kernels {
namespace {

constexpr uint32_t kSeed = 31;

std::vector<float> RunOn(Int8Backend backend, const Layer& layer,
                         ThreadPool* pool = nullptr,
                         PhaseTimes* times = nullptr) {
  Int8LinearSpec spec = layer.Spec();
  spec.backend = backend;
  const auto linear = Int8Linear::Create(spec);
  EXPECT_TRUE(linear.ok()) << linear.status();
  if (!linear.ok()) return {};
  LinearCall call;
  call.activation = layer.activation;
  if (layer.with_residual) {
    call.residual = {layer.residual.data(), layer.m, layer.n};
  }
  call.pool = pool;
  call.times = times;
  std::vector<float> y(layer.m * layer.n, -1.0F);
  EXPECT_TRUE(linear
                  ->Run({layer.x.data(), layer.m, layer.k},
                        {y.data(), layer.m, layer.n}, call)
                  .ok());
  return y;
}

class Int8BackendTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!HostFeatures().avx512vnni) GTEST_SKIP() << "no AVX512-VNNI here";
  }
};

TEST_F(Int8BackendTest, OneDnnGivesTheSameBits) {
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  for (const auto& [m, n, k] :
       std::vector<std::tuple<size_t, size_t, size_t>>{{1, 64, 64},
                                                       {7, 37, 101},
                                                       {67, 333, 1000},
                                                       {1, 1, 1},
                                                       {130, 65, 4097}}) {
    for (const bool full : {false, true}) {
      SCOPED_TRACE(testing::Message() << m << "x" << k << "x" << n << full);
      Layer layer(m, n, k, kSeed);
      if (full) {
        layer.SetOutliers({0}, 2.0F);
        layer.activation = Activation::kGelu;
        layer.with_residual = true;
      }
      EXPECT_EQ(RunOn(Int8Backend::kOneDnn, layer),
                RunOn(Int8Backend::kOwn, layer));
      layer.SetStatic(0.02F, 37);
      EXPECT_EQ(RunOn(Int8Backend::kOneDnn, layer),
                RunOn(Int8Backend::kOwn, layer));
    }
  }
}

TEST_F(Int8BackendTest, ThreadsChangeNothing) {
  const Layer layer(200, 320, 384, kSeed);
  ThreadPool pool(3);
  EXPECT_EQ(RunOn(Int8Backend::kOneDnn, layer, &pool),
            RunOn(Int8Backend::kOneDnn, layer));
}

TEST_F(Int8BackendTest, ItsProductCountsAsDot) {
  const Layer layer(64, 1536, 1536, kSeed);
  PhaseTimes times;
  RunOn(Int8Backend::kOneDnn, layer, nullptr, &times);
  EXPECT_GT(times.quantize_ns, 0);
  EXPECT_GT(times.dequantize_ns, 0);
  // Some twenty times as much work; a copy of it would not be.
  EXPECT_GT(times.dot_ns, times.quantize_ns);
}

TEST_F(Int8BackendTest, WhatOneDnnCannotDoIsSaid) {
  const Layer layer(1, 16, 70'000, kSeed);
  Int8LinearSpec spec = layer.Spec();
  spec.backend = Int8Backend::kOneDnn;
  const auto linear = Int8Linear::Create(spec);
  EXPECT_EQ(linear.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(linear.status().message(), testing::HasSubstr("[16, 70000]"));
}

}  // namespace
}  // namespace octet::kernels
