// Which thread runs: a call below the documented size stays on the thread that
// makes it, whatever it computes; one as large as that is open to others.

#include "kernels/small_work.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/float_attention.h"
#include "kernels/float_layer_norm.h"
#include "kernels/float_linear.h"
#include "kernels/float_rms_norm.h"
#include "kernels/int8_linear.h"
#include "kernels/norm_quantize.h"
#include "kernels/registry.h"
#include "kernels/thread_pool.h"
#include "tests/kernels/kernel_testing.h"
#include "tests/kernels/layer_testing.h"

namespace octet::kernels {
namespace {

// Calls that `run` opens to the threads of its pool.
uint64_t SharedCalls(const std::function<void(ThreadPool*)>& run) {
  ThreadPool pool(3);
  run(&pool);
  return pool.shared_calls();
}

std::mutex mutex;
std::set<std::thread::id> threads;  // that multiplied

void RememberingDot(const DotTile& tile) {
  {
    const std::scoped_lock lock(mutex);
    threads.insert(std::this_thread::get_id());
  }
  SelectKernel(HostFeatures()).dot(tile);
}

uint64_t Int8Shares(size_t m, size_t n, size_t k) {
  const Layer layer(m, n, k, /*seed=*/91);
  Kernel kernel = SelectKernel(HostFeatures());
  kernel.dot = RememberingDot;
  return SharedCalls([&](ThreadPool* pool) { layer.Run(kernel, pool); });
}

TEST(SmallWork, AnInt8LinearBelowTheSizeRunsWhereItIsCalled) {
  static_assert(kMinSharedProducts == size_t{1} << 21, "as the README says");
  for (const size_t m : {1, 8, 64}) {
    const size_t n = kMinSharedProducts / 512 / m;
    threads.clear();
    EXPECT_EQ(Int8Shares(m, n, 511), 0) << m;
    EXPECT_EQ(threads, std::set{std::this_thread::get_id()}) << m;
    EXPECT_EQ(Int8Shares(m, n, 512), 1) << m;
  }
}

uint64_t FloatShares(size_t m, size_t n, size_t k) {
  const std::vector<float> w = RandomFloats(n * k, 92);
  const auto linear = FloatLinear::Create({w.data(), n, k}, {});
  EXPECT_TRUE(linear.ok()) << linear.status();
  const std::vector<float> x = RandomFloats(m * k, 93);
  std::vector<float> y(m * n);
  return SharedCalls([&](ThreadPool* pool) {
    LinearCall call;
    call.pool = pool;
    EXPECT_TRUE(linear->Run({x.data(), m, k}, {y.data(), m, n}, call).ok());
  });
}

// Several blocks of columns are no reason for threads.
TEST(SmallWork, AFloatLinearBelowTheSizeRunsWhereItIsCalled) {
  EXPECT_EQ(FloatShares(1, 1536, 8), 0);
  EXPECT_EQ(FloatShares(1, 2048, 1023), 0);
  EXPECT_EQ(FloatShares(1, 2048, 1024), 1);
  EXPECT_EQ(FloatShares(128, 128, 127), 0);
  EXPECT_EQ(FloatShares(128, 128, 128), 1);
}

// By their work, not by their rows.
TEST(SmallWork, NormsBelowTheSizeRunWhereTheyAreCalled) {
  for (const size_t width : {16, 384, 4096}) {
    SCOPED_TRACE(width);
    const size_t enough =
        (kMinSharedProducts + width * kProductsPerNormed - 1) /
        (width * kProductsPerNormed);
    const std::vector<float> x = RandomFloats(enough * width, 94);
    const std::vector<float> weight(width, 1.0F);
    std::vector<float> y(x.size());
    std::vector<uint8_t> codes(x.size());
    std::vector<float> scales(enough);
    for (const size_t rows : {enough - 1, enough}) {
      const MatrixView<const float> in = {x.data(), rows, width};
      const MatrixView<float> out = {y.data(), rows, width};
      const uint64_t expected = rows == enough ? 1 : 0;
      EXPECT_EQ(SharedCalls([&](ThreadPool* pool) {
                  LayerNorm(in, weight, weight, 1e-5F, out, pool);
                }),
                expected);
      EXPECT_EQ(SharedCalls([&](ThreadPool* pool) {
                  RmsNorm(in, weight, 1e-5F, out, pool);
                }),
                expected);
      EXPECT_EQ(SharedCalls([&](ThreadPool* pool) {
                  NormAndQuantize({in,
                                   weight,
                                   weight,
                                   1e-5F,
                                   out,
                                   {},
                                   {codes.data(), rows, width},
                                   scales.data()},
                                  pool);
                }),
                expected);
    }
  }
}

TEST(SmallWork, AttentionBelowTheSizeRunsWhereItIsCalled) {
  constexpr size_t kWidth = 64;  // 2 * 64 * 128^2 = kMinSharedProducts
  const auto shares = [](int32_t length) {
    const auto tokens = static_cast<size_t>(length);
    const std::vector<float> x = RandomFloats(tokens * kWidth, 95);
    std::vector<float> y(x.size());
    const MatrixView<const float> in = {x.data(), tokens, kWidth};
    const std::vector<int32_t> lengths = {length};
    return SharedCalls([&](ThreadPool* pool) {
      Attention(in, in, in, 2, lengths, AttentionPrecision::kFp32,
                {y.data(), tokens, kWidth}, pool);
    });
  };
  EXPECT_EQ(shares(127), 0);
  EXPECT_EQ(shares(128), 1);
}

}  // namespace
}  // namespace octet::kernels
