#include "kernels/norm_quantize.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/float_layer_norm.h"
#include "kernels/int8_linear.h"
#include "kernels/quantize_rows.h"
#include "kernels/registry.h"
#include "kernels/thread_pool.h"
#include "tests/kernels/kernel_testing.h"

namespace octet::kernels {
namespace {

class NormQuantizeOps : public EveryKernel {};
OCTET_INSTANTIATE_FOR_EVERY_KERNEL(NormQuantizeOps);

struct Rows {
  Rows(size_t rows, size_t width)
      : x(RandomFloats(rows * width, 81)),
        weight(RandomFloats(width, 82)),
        bias(RandomFloats(width, 83)),
        y(rows * width),
        codes(rows * width),
        scales(rows),
        call{{x.data(), rows, width},
             weight,
             bias,
             1e-5F,
             {y.data(), rows, width},
             {codes.data(), rows, width},
             scales.data()} {}

  std::vector<float> x, weight, bias, y;
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  NormQuantize call;
};

TEST_P(NormQuantizeOps, AgreesWithNormAndQuantizationOneAfterTheOther) {
  const FloatCompanions& companions = SelectFloatCompanions();
  for (const size_t width : {1, 15, 64, 100, 384}) {
    SCOPED_TRACE(width);
    Rows rows(33, width);
    rows.x[0] = std::numeric_limits<float>::infinity();
    LayerNormQuantizeWith(companions, *kernel().ops, rows.call);
    std::vector<float> y(width);
    std::vector<uint8_t> codes(width);
    for (size_t m = 0; m < 33; ++m) {
      companions.layer_norm({rows.call.x.row(m), y.data(), rows.weight.data(),
                             rows.bias.data(), width, 1e-5F});
      const MeasuredRow row =
          MeasureRow(*kernel().ops, {}, y.data(), ElementType::kFp32, width,
                     nullptr, nullptr);
      CodeRow(*kernel().ops, {}, row, width, width, codes.data());
      EXPECT_EQ(Bits(rows.call.y.row(m), width), Bits(y));
      EXPECT_EQ(Bits(rows.call.scales + m, 1), Bits(&row.scale, 1));
      EXPECT_EQ(std::vector<uint8_t>(rows.call.codes.row(m),
                                     rows.call.codes.row(m) + width),
                codes);
    }
  }
}

TEST(NormQuantize, ALinearMakesTheSameOfCodesAndOfFloats) {
  constexpr size_t kWidth = 96;
  const auto codes = RandomIntegers<int8_t>(70 * kWidth, -127, 127, 84);
  const std::vector<float> scales(70, 0.01F);
  Int8LinearSpec spec;
  spec.codes = {codes.data(), 70, kWidth};
  spec.scales = scales;
  const auto linear = Int8Linear::Create(spec);
  ASSERT_TRUE(linear.ok()) << linear.status();
  Rows rows(200, kWidth);
  ThreadPool pool(3);
  uint64_t ns = 0;
  rows.call.quantize_ns = &ns;
  LayerNormQuantize(rows.call, &pool);
  EXPECT_GT(ns, 0);
  std::vector<float> from_codes(200 * 70);
  std::vector<float> from_floats(200 * 70);
  ASSERT_TRUE(linear
                  ->Run(LinearInput::Codes({rows.codes.data(), 200, kWidth},
                                           rows.scales),
                        LinearOutput::Fp32({from_codes.data(), 200, 70}), {})
                  .ok());
  ASSERT_TRUE(
      linear
          ->Run({rows.y.data(), 200, kWidth}, {from_floats.data(), 200, 70}, {})
          .ok());
  EXPECT_EQ(Bits(from_codes), Bits(from_floats));
  std::vector<float> y(200 * kWidth);
  LayerNorm(rows.call.x, rows.weight, rows.bias, 1e-5F, {y.data(), 200, kWidth},
            nullptr);
  EXPECT_EQ(Bits(rows.y), Bits(y));
}

}  // namespace
}  // namespace octet::kernels
