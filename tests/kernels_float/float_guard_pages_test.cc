// No buffer of a float operation is touched one byte before its beginning or
// behind its end, on every instruction set this CPU runs.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/float_companions.h"
#include "kernels/float_linear.h"
#include "kernels/float_pooling.h"
#include "tests/kernels/guarded.h"
#include "tests/kernels_float/test_data.h"

namespace octet::kernels {
namespace {

constexpr size_t kRagged[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 65};

std::vector<float> Values(size_t count, uint32_t seed) {
  return Normal(1, count, seed).data;
}

// For each companion and each side of the guard pages.
class FloatGuardPages : public testing::TestWithParam<Side> {
 protected:
  static void ForEach(void (*check)(const FloatCompanions&, Side)) {
    for (const FloatCompanions* companions : CompanionsThisCpuRuns()) {
      SCOPED_TRACE(companions->isa);
      check(*companions, GetParam());
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Sides, FloatGuardPages, testing::ValuesIn(kBothSides),
                         [](const auto& info) { return NameOf(info.param); });

template <typename T>
void CheckPanel(const FloatCompanions& companions,
                void (*panel)(const PanelTask&), Side side) {
  for (const size_t k : kRagged) {
    for (const size_t cols :
         {size_t{1}, companions.panel_cols / 2 + 1, companions.panel_cols}) {
      for (const size_t rows : {1, 5, 6, 7, 13}) {
        const GuardedMatrix<float> a(Values(rows * k, 1), rows, k, 3, side);
        const Guarded<T> b(std::vector<T>(k * companions.panel_cols), side);
        const GuardedMatrix<float> c(rows, cols, 3, side);
        panel({a.view().data, a.view().stride, rows, b.data(), k, c.view().data,
               c.view().stride, cols});
        EXPECT_TRUE(c.GapsAreUntouched()) << rows << "x" << k << "x" << cols;
      }
    }
  }
}

TEST_P(FloatGuardPages, PanelsOfTheLinear) {
  ForEach([](const FloatCompanions& companions, Side side) {
    CheckPanel<float>(companions, companions.panel_fp32, side);
    CheckPanel<uint16_t>(companions, companions.panel_fp16, side);
    CheckPanel<uint16_t>(companions, companions.panel_bf16, side);
  });
}

TEST_P(FloatGuardPages, Norms) {
  ForEach([](const FloatCompanions& companions, Side side) {
    for (const size_t width : kRagged) {
      const Guarded x(Values(width, 1), side);
      const Guarded weight(Values(width, 2), side);
      const Guarded bias(Values(width, 3), side);
      const Guarded y(Values(width, 4), side);
      companions.layer_norm(
          {x.data(), y.data(), weight.data(), bias.data(), width, 1e-5F});
      companions.rms_norm({x.data(), y.data(), weight.data(), width, 1e-5F});
    }
  });
}

TEST_P(FloatGuardPages, Attention) {
  ForEach([](const FloatCompanions& companions, Side side) {
    for (const auto& [length, width] : std::vector<std::pair<size_t, size_t>>{
             {1, 1}, {3, 5}, {17, 16}, {33, 20}, {65, 33}, {130, 32}}) {
      for (const auto precision :
           {AttentionPrecision::kFp32, AttentionPrecision::kBf16}) {
        SCOPED_TRACE(std::to_string(length) + " x " + std::to_string(width));
        const auto matrix = [&, length = length, width = width](uint32_t seed) {
          return GuardedMatrix<float>(Values(length * width, seed), length,
                                      width, 3, side);
        };
        const auto q = matrix(1);
        const auto k = matrix(2);
        const auto v = matrix(3);
        const auto out = matrix(4);
        const GuardedMemory scratch(
            companions.attention_scratch(length, width) * sizeof(float), side);
        companions.attention({.query = q.view().data,
                              .key = k.view().data,
                              .value = v.view().data,
                              .out = out.view().data,
                              .query_stride = q.view().stride,
                              .key_stride = k.view().stride,
                              .value_stride = v.view().stride,
                              .out_stride = out.view().stride,
                              .length = length,
                              .width = width,
                              .scale = 0.3F,
                              .scratch = scratch.As<float>(),
                              .precision = precision});
        EXPECT_TRUE(out.GapsAreUntouched());
      }
    }
  });
}

TEST_P(FloatGuardPages, LinearsWithAllTheyCanDo) {
  for (const size_t n : {1, 17, 65, 400}) {
    for (const size_t k : {1, 9, 33}) {
      const Guarded w(Values(n * k, 1), GetParam());
      const Guarded bias(Values(n, 2), GetParam());
      const auto linear = FloatLinear::Create({w.data(), n, k}, bias.span());
      ASSERT_TRUE(linear.ok()) << linear.status();
      const GuardedMatrix<float> x(Values(7 * k, 3), 7, k, 3, GetParam());
      const GuardedMatrix<float> residual(Values(7 * n, 4), 7, n, 1,
                                          GetParam());
      const GuardedMatrix<float> y(7, n, 3, GetParam());
      LinearCall call;
      call.activation = Activation::kGelu;
      call.residual = residual.const_view();
      ASSERT_TRUE(linear->Run(x.const_view(), y.view(), call).ok());
      EXPECT_TRUE(y.GapsAreUntouched());
    }
  }
}

TEST_P(FloatGuardPages, PoolingAndL2) {
  const std::vector<int32_t> lengths = {3, 1, 2};
  for (const size_t width : kRagged) {
    const GuardedMatrix<float> x(Values(6 * width, 1), 6, width, 3, GetParam());
    const GuardedMatrix<float> y(3, width, 3, GetParam());
    for (const auto kind :
         {PoolingKind::kMean, PoolingKind::kFirst, PoolingKind::kMax}) {
      Pool(kind, x.const_view(), lengths, y.view());
    }
    NormalizeL2(y.const_view(), y.view());
    EXPECT_TRUE(y.GapsAreUntouched());
  }
}

}  // namespace
}  // namespace octet::kernels
