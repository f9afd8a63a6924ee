// A call that a thread has seen the like of before allocates nothing: not with
// new, not with malloc, on none of its threads, in none of its libraries.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/aligned_buffer.h"
#include "kernels/float_attention.h"
#include "kernels/float_layer_norm.h"
#include "kernels/float_linear.h"
#include "kernels/float_pooling.h"
#include "kernels/float_rms_norm.h"
#include "kernels/int8_linear.h"
#include "kernels/linear_io.h"
#include "kernels/norm_quantize.h"
#include "kernels/phase_clock.h"
#include "kernels/thread_pool.h"
#include "tests/kernels/allocation_counter.h"
#include "tests/kernels/kernel_testing.h"
#include "tests/kernels/layer_testing.h"

namespace octet::kernels {
namespace {

constexpr int kCallsPerRound = 10;
constexpr int kRounds = 40;

// Which thread meets which task first is chance, so scratch may grow now and
// then for a while. But sooner or later there is a round without a single
// allocation, where a call that allocates each time never has one.
bool StopsAllocating(const std::function<void()>& call) {
  for (int round = 0; round < kRounds; ++round) {
    const size_t before = Allocations();
    for (int i = 0; i < kCallsPerRound; ++i) call();
    if (Allocations() == before) return true;
  }
  return false;
}

// On the calling thread alone, and shared with a second one.
void ExpectNoAllocations(const std::function<void(ThreadPool*)>& call) {
  EXPECT_TRUE(StopsAllocating([&] { call(nullptr); })) << "one thread";
  ThreadPool pool(2);
  EXPECT_TRUE(StopsAllocating([&] { call(&pool); })) << "two threads";
}

TEST(NoAllocation, TheCounterSeesEveryWayToAllocate) {
  const auto counts = [](const std::function<void*()>& allocate) {
    const size_t before = Allocations();
    void* const memory = allocate();
    const size_t after = Allocations();
    std::free(memory);
    return after - before;
  };
  EXPECT_EQ(counts([] { return std::malloc(10); }), 1);
  EXPECT_EQ(counts([] { return std::calloc(2, 10); }), 1);
  EXPECT_EQ(counts([] { return std::realloc(nullptr, 10); }), 1);
  EXPECT_EQ(counts([] { return std::aligned_alloc(64, 64); }), 1);
  EXPECT_EQ(counts([]() -> void* {
              void* memory = nullptr;
              return posix_memalign(&memory, 64, 10) == 0 ? memory : nullptr;
            }),
            1);
  EXPECT_EQ(counts([] { return ::operator new(10); }), 1);
}

TEST(NoAllocation, ACallThatAllocatesIsFound) {
  EXPECT_FALSE(StopsAllocating([] { const AlignedBuffer buffer(100); }));
  EXPECT_FALSE(StopsAllocating([] { const std::vector<float> buffer(100); }));
  ThreadPool pool(2);
  EXPECT_FALSE(StopsAllocating([&] {
    pool.ParallelFor(2, [](size_t) { const std::vector<float> buffer(100); });
  }));
}

TEST(NoAllocation, ThreadPool) {
  ThreadPool pool(3);
  EXPECT_TRUE(StopsAllocating([&] { pool.ParallelFor(64, [](size_t) {}); }));
}

class NoAllocationInt8 : public EveryKernel {
 protected:
  void Expect(Layer& layer) {
    const auto linear = Int8Linear::CreateWith(kernel(), layer.Spec());
    ASSERT_TRUE(linear.ok()) << linear.status();
    std::vector<float> y(layer.m * layer.n);
    PhaseTimes times;
    // Fewer rows than before are no reason to allocate either.
    for (const size_t rows : {layer.m, layer.m / 2 + 1, size_t{1}}) {
      ExpectNoAllocations([&](ThreadPool* pool) {
        LinearCall call;
        call.activation = layer.activation;
        call.pool = pool;
        call.times = &times;
        if (layer.with_residual) {
          call.residual = {layer.residual.data(), rows, layer.n};
        }
        ASSERT_TRUE(linear
                        ->Run({layer.x.data(), rows, layer.k},
                              {y.data(), rows, layer.n}, call)
                        .ok());
      });
    }
  }
};
OCTET_INSTANTIATE_FOR_EVERY_KERNEL(NoAllocationInt8);

TEST_P(NoAllocationInt8, PerToken) {
  Layer layer(70, 300, 384, /*seed=*/41);
  layer.activation = Activation::kGelu;
  layer.with_residual = true;
  Expect(layer);
}

TEST_P(NoAllocationInt8, StaticAffine) {
  Layer layer(70, 300, 384, /*seed=*/42);
  layer.SetStatic(0.03F, 100);
  Expect(layer);
}

TEST_P(NoAllocationInt8, Outliers) {
  Layer layer(70, 300, 384, /*seed=*/43);
  layer.SetOutliers({1, 77, 200}, 2.0F);
  Expect(layer);
}

TEST_P(NoAllocationInt8, SplitK) {
  Layer layer(3, 20, 66400, /*seed=*/44);
  Expect(layer);
}

TEST_P(NoAllocationInt8, GroupsOfK) {
  Layer layer(70, 300, 384, /*seed=*/45);
  layer.SetGroups(64);
  Expect(layer);
}

TEST_P(NoAllocationInt8, SmoothingAndRotation) {
  Layer layer(70, 300, 384, /*seed=*/46);
  layer.inverse_smoothing.assign(layer.k, 0.5F);
  Expect(layer);
  layer.hadamard_block = 128;
  Expect(layer);
}

TEST_P(NoAllocationInt8, SixteenBitsAndCodesInAndOut) {
  const Layer layer(70, 300, 384, /*seed=*/47);
  const auto linear = Int8Linear::CreateWith(kernel(), layer.Spec());
  ASSERT_TRUE(linear.ok()) << linear.status();
  const std::vector<uint16_t> halves(layer.x.size(), 0x3c00);
  const std::vector<uint8_t> codes(layer.x.size(), 7);
  const std::vector<float> scales(layer.m, 0.1F);
  std::vector<uint16_t> half_y(layer.m * layer.n);
  std::vector<uint8_t> code_y(layer.m * layer.n);
  std::vector<float> row_scales(layer.m);
  ExpectNoAllocations([&](ThreadPool* pool) {
    LinearCall call;
    call.pool = pool;
    const MatrixView<const uint16_t> x = {halves.data(), layer.m, layer.k};
    const MatrixView<uint16_t> y = {half_y.data(), layer.m, layer.n};
    ASSERT_TRUE(
        linear->Run(LinearInput::Fp16(x), LinearOutput::Bf16(y), call).ok());
    ASSERT_TRUE(
        linear->Run(LinearInput::Bf16(x), LinearOutput::Fp16(y), call).ok());
    ASSERT_TRUE(
        linear
            ->Run(LinearInput::Codes({codes.data(), layer.m, layer.k}, scales),
                  LinearOutput::Codes({code_y.data(), layer.m, layer.n}, 0.1F,
                                      3, absl::MakeSpan(row_scales)),
                  call)
            .ok());
  });
}

TEST_P(NoAllocationInt8, RangesOfColumns) {
  const size_t step = kernel().nr;
  const Layer layer(70, 4 * step, 384, /*seed=*/48);
  const auto linear = Int8Linear::CreateWith(kernel(), layer.Spec());
  ASSERT_TRUE(linear.ok()) << linear.status();
  std::vector<float> y(layer.m * 2 * step);
  ExpectNoAllocations([&](ThreadPool* pool) {
    LinearCall call;
    call.pool = pool;
    ASSERT_TRUE(linear
                    ->RunColumns(step, {layer.x.data(), layer.m, layer.k},
                                 {y.data(), layer.m, 2 * step}, call)
                    .ok());
  });
}

void ExpectFloatLinearAllocatesNothing(const FloatLinear& linear) {
  constexpr size_t kRows = 130;
  constexpr size_t kK = 96;
  constexpr size_t kN = 400;
  const auto x = RandomFloats(kRows * kK, 51);
  const auto residual = RandomFloats(kRows * kN, 52);
  std::vector<float> y(kRows * kN);
  for (const size_t rows : {kRows, size_t{17}, size_t{1}}) {
    SCOPED_TRACE(std::string(linear.kernel_name()) + ", rows " +
                 std::to_string(rows));
    ExpectNoAllocations([&](ThreadPool* pool) {
      LinearCall call;
      call.activation = Activation::kGelu;
      call.residual = {residual.data(), rows, kN};
      call.pool = pool;
      ASSERT_TRUE(
          linear.Run({x.data(), rows, kK}, {y.data(), rows, kN}, call).ok());
    });
  }
}

TEST(NoAllocation, FloatLinear) {
  const auto w = RandomFloats(size_t{400} * 96, 53);
  const auto bias = RandomFloats(400, 54);
  const std::vector<uint16_t> halves(size_t{400} * 96, 0x3c00);
  const auto expect = [](const absl::StatusOr<FloatLinear>& linear) {
    ASSERT_TRUE(linear.ok()) << linear.status();
    ExpectFloatLinearAllocatesNothing(*linear);
  };
  // Not through oneDNN: each of its executions allocates a list of arguments.
  expect(FloatLinear::Create({w.data(), 400, 96}, bias, FloatBackend::kPanels));
  expect(
      FloatLinear::Create16(FloatType::kBf16, {halves.data(), 400, 96}, bias));
}

TEST(NoAllocation, Attention) {
  constexpr size_t kWidth = 96;
  const std::vector<int32_t> lengths = {40, 1, 128, 17};
  constexpr size_t kTokens = 186;
  const auto qkv = RandomFloats(kTokens * 3 * kWidth, 55);
  std::vector<float> out(kTokens * kWidth);
  const MatrixView<const float> all = {qkv.data(), kTokens, 3 * kWidth};
  for (const auto precision :
       {AttentionPrecision::kFp32, AttentionPrecision::kBf16}) {
    ExpectNoAllocations([&](ThreadPool* pool) {
      Attention(all.Columns(0, kWidth), all.Columns(kWidth, kWidth),
                all.Columns(2 * kWidth, kWidth), 3, lengths, precision,
                {out.data(), kTokens, kWidth}, pool);
    });
  }
}

// Enough rows to be shared with the second thread.
TEST(NoAllocation, NormsAndPooling) {
  constexpr size_t kRows = 1000;
  constexpr size_t kWidth = 96;
  const auto x = RandomFloats(kRows * kWidth, 56);
  const std::vector<float> weight(kWidth, 1.0F);
  const std::vector<float> bias(kWidth, 0.0F);
  const std::vector<int32_t> lengths = {500, 500};
  const std::vector<float> factors(kWidth, 0.5F);
  std::vector<float> y(kRows * kWidth);
  std::vector<uint8_t> codes(kRows * kWidth);
  std::vector<float> scales(kRows);
  const MatrixView<const float> in = {x.data(), kRows, kWidth};
  const MatrixView<float> out = {y.data(), kRows, kWidth};
  NormQuantize norm = {
      in,           weight, bias, 1e-5F, out, {}, {codes.data(), kRows, kWidth},
      scales.data()};
  norm.coding.inverse_smoothing = factors.data();
  norm.coding.hadamard_block = 32;
  ExpectNoAllocations([&](ThreadPool* pool) {
    LayerNorm(in, weight, bias, 1e-12F, out, pool);
    RmsNorm(in, weight, 1e-12F, out, pool);
    NormAndQuantize(norm, pool);
    Pool(PoolingKind::kMean, in, lengths, {y.data(), 2, kWidth});
    NormalizeL2({y.data(), 2, kWidth}, {y.data(), 2, kWidth});
  });
}

}  // namespace
}  // namespace octet::kernels
