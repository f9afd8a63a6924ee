// oneDNN as the code that multiplies: the bits of everything must be those of
// our own kernels, whatever stands around the product.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/cpu_features.h"
#include "kernels/int8_linear.h"
#include "kernels/onednn_gemm.h"
#include "kernels/phase_clock.h"
#include "kernels/registry.h"
#include "kernels/thread_pool.h"
#include "tests/kernels/kernel_testing.h"
#include "tests/kernels/known_cpus.h"
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
    if (!OneDnnMultipliesInt8(HostFeatures())) {
      GTEST_SKIP() << "no AVX512-VNNI here: oneDNN in INT8 is NOT TESTED";
    }
  }
};

TEST_F(Int8BackendTest, OneDnnGivesTheSameBits) {
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  for (const auto& [m, n, k] :
       std::vector<std::tuple<size_t, size_t, size_t>>{{1, 64, 64},
                                                       {7, 37, 101},
                                                       {67, 333, 1000},
                                                       {1, 1, 1},
                                                       {9, 384, 64},
                                                       {5, 769, 65},
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
  ThreadPool pool(3);
  for (const size_t n : {320, 1000}) {
    const Layer layer(200, n, 384, kSeed);
    EXPECT_EQ(RunOn(Int8Backend::kOneDnn, layer, &pool),
              RunOn(Int8Backend::kOneDnn, layer));
  }
}

TEST_F(Int8BackendTest, ItsProductCountsAsDot) {
  const Layer layer(64, 1536, 1536, kSeed);
  // Of several runs the least: any one of them may have been interrupted. And
  // the sum: the one tile that a run looks at may take no tick to finish.
  uint64_t quantize_ns = std::numeric_limits<uint64_t>::max();
  uint64_t dot_ns = quantize_ns;
  PhaseTimes all;
  for (int run = 0; run < 9; ++run) {
    PhaseTimes times;
    RunOn(Int8Backend::kOneDnn, layer, nullptr, &times);
    quantize_ns = std::min(quantize_ns, times.quantize_ns);
    dot_ns = std::min(dot_ns, times.dot_ns);
    all += times;
  }
  EXPECT_GT(quantize_ns, 0);
  EXPECT_GT(all.dequantize_ns, 0);
  // Some twenty times as much work; a copy of it would not be.
  EXPECT_GT(dot_ns, quantize_ns);
}

std::atomic<size_t> columns_multiplied = 0;

void CountingDot(const DotTile& tile) {
  columns_multiplied += tile.width;
  SelectKernel(HostFeatures()).dot(tile);
}

// oneDNN would multiply by all columns to give some.
TEST_F(Int8BackendTest, ARangeOfColumnsIsMultipliedAlone) {
  const size_t step = Int8Linear::ColumnStep();
  const Layer layer(9, 6 * step, 96, kSeed);
  Kernel counting = SelectKernel(HostFeatures());
  counting.dot = CountingDot;
  Int8LinearSpec spec = layer.Spec();
  spec.backend = Int8Backend::kOneDnn;
  const auto linear = Int8Linear::CreateWith(counting, spec);
  ASSERT_TRUE(linear.ok()) << linear.status();
  const MatrixView<const float> x = {layer.x.data(), layer.m, layer.k};

  std::vector<float> whole(layer.m * layer.n);
  columns_multiplied = 0;
  ASSERT_TRUE(linear->Run(x, {whole.data(), layer.m, layer.n}, {}).ok());
  EXPECT_EQ(columns_multiplied, 0);

  std::vector<float> part(layer.m * 2 * step);
  const MatrixView<float> y = {part.data(), layer.m, 2 * step};
  ASSERT_TRUE(linear->RunColumns(step, x, y, {}).ok());
  const size_t tiles = counting.TilesOf(layer.m);
  EXPECT_EQ(columns_multiplied, tiles * 2 * step);
  for (size_t m = 0; m < layer.m; ++m) {
    EXPECT_EQ(Bits(y.row(m), y.cols), Bits(&whole[m * layer.n + step], y.cols));
  }
}

// Where there is AVX512-VNNI, CMakeLists.txt takes it away (OCTET_MAX_ISA).
TEST(Int8BackendRefusal, WithoutAvx512VnniThereIsNoOneDnn) {
  if (OneDnnMultipliesInt8(HostFeatures())) GTEST_SKIP() << "AVX512-VNNI here";
  const Layer layer(1, 16, 64, kSeed);
  Int8LinearSpec spec = layer.Spec();
  spec.backend = Int8Backend::kOneDnn;
  const absl::Status status = Int8Linear::Create(spec).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(status.message(), testing::HasSubstr("AVX512-VNNI"));
  const std::string isa(IsaName(SelectKernel(HostFeatures()).isa));
  EXPECT_THAT(status.message(), testing::HasSubstr(isa));
}

TEST(Int8BackendRefusal, GroupsOfKAreRefusedOnEveryCpu) {
  Layer layer(1, 16, 64, kSeed);
  layer.SetGroups(32);
  Int8LinearSpec spec = layer.Spec();
  spec.backend = Int8Backend::kOneDnn;
  const absl::Status status = Int8Linear::Create(spec).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(status.message(), testing::HasSubstr("group_size is 32"));
}

// oneDNN itself would see the real CPU and take what it has.
TEST(OneDnnMultiplies, WhatIsLoweredIsNotThere) {
  EXPECT_TRUE(OneDnnMultipliesInt8(SapphireRapids()));
  EXPECT_TRUE(OneDnnMultipliesInt8(CascadeLake()));
  EXPECT_FALSE(OneDnnMultipliesInt8(SkylakeServer()));
  EXPECT_FALSE(OneDnnMultipliesInt8(AlderLake()));
  EXPECT_FALSE(OneDnnMultipliesInt8(NeoverseV1()));
  EXPECT_TRUE(OneDnnMultipliesFp32(SkylakeServer()));
  EXPECT_FALSE(OneDnnMultipliesFp32(Haswell()));
  for (const Isa isa :
       {Isa::kScalar, Isa::kAvx2, Isa::kAvx512VlVnni, Isa::kAvxVnni}) {
    const CpuFeatures lowered = LoweredTo(isa, SapphireRapids());
    EXPECT_FALSE(OneDnnMultipliesInt8(lowered)) << IsaName(isa);
    EXPECT_FALSE(OneDnnMultipliesFp32(lowered)) << IsaName(isa);
  }
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
