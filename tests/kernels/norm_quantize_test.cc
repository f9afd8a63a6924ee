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
#include "tests/kernels/layer_testing.h"

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
             {},
             {codes.data(), rows, width},
             scales.data()} {}

  std::vector<float> x, weight, bias, y;
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  NormQuantize call;
};

// The norm alone.
void Normalized(const FloatCompanions& companions, const NormQuantize& call,
                size_t m, std::vector<float>& y) {
  if (call.bias.empty()) {
    companions.rms_norm({call.x.row(m), y.data(), call.weight.data(),
                         call.x.cols, call.epsilon});
  } else {
    companions.layer_norm({call.x.row(m), y.data(), call.weight.data(),
                           call.bias.data(), call.x.cols, call.epsilon});
  }
}

std::vector<float> Factors(size_t width) {
  std::vector<float> factors(width);
  for (size_t i = 0; i < width; ++i) {
    factors[i] = 0.25F + 0.125F * static_cast<float>(i % 7);
  }
  return factors;
}

// Per token or static, as it is or smoothed and rotated.
std::vector<RowCoding> Codings(const std::vector<float>& factors) {
  RowCoding is_static;
  is_static.coding = ActivationCoding::kStaticAffine;
  is_static.input_scale = 0.02F;
  is_static.input_zero_point = 99;
  std::vector<RowCoding> codings = {{}, is_static};
  for (RowCoding coding : {RowCoding(), is_static}) {
    coding.inverse_smoothing = factors.data();
    codings.push_back(coding);
    coding.hadamard_block = 64;
    codings.push_back(coding);
  }
  return codings;
}

TEST_P(NormQuantizeOps, AgreesWithNormAndQuantizationOneAfterTheOther) {
  const FloatCompanions& companions = HostFloatCompanions();
  for (const size_t width : {1, 15, 64, 100, 384}) {
    const std::vector<float> factors = Factors(width);
    for (const RowCoding& coding : Codings(factors)) {
      for (const bool is_rms : {false, true}) {
        SCOPED_TRACE(width);
        Rows rows(33, width);
        rows.x[0] = std::numeric_limits<float>::infinity();
        rows.call.coding = coding;
        if (is_rms) rows.call.bias = {};
        NormAndQuantizeWith(companions, *kernel().ops, rows.call);
        std::vector<float> y(width);
        std::vector<float> values(width);
        std::vector<uint8_t> codes(width);
        for (size_t m = 0; m < 33; ++m) {
          Normalized(companions, rows.call, m, y);
          const MeasuredRow row =
              MeasureRow(*kernel().ops, coding, y.data(), ElementType::kFp32,
                         width, values.data(), nullptr);
          CodeRow(*kernel().ops, coding, row, width, width, codes.data());
          EXPECT_EQ(Bits(rows.call.y.row(m), width), Bits(y));
          EXPECT_EQ(Bits(rows.call.scales + m, 1), Bits(&row.scale, 1));
          EXPECT_EQ(std::vector<uint8_t>(rows.call.codes.row(m),
                                         rows.call.codes.row(m) + width),
                    codes);
        }
      }
    }
  }
}

// With whatever a layer does to its input, and from its own coding.
TEST_P(NormQuantizeOps, ALinearMakesTheSameOfCodesAndOfFloats) {
  constexpr size_t kRows = 200;
  constexpr size_t kWidth = 96;
  constexpr size_t kN = 70;
  for (const bool is_static : {false, true}) {
    for (const bool transforms : {false, true}) {
      Layer layer(kRows, kN, kWidth, /*seed=*/84);
      if (is_static) layer.SetStatic(0.03F, 120);
      if (transforms) layer.inverse_smoothing = Factors(kWidth);
      if (transforms) layer.hadamard_block = 32;
      const auto linear = Int8Linear::CreateWith(kernel(), layer.Spec());
      ASSERT_TRUE(linear.ok()) << linear.status();
      Rows rows(kRows, kWidth);
      rows.x[5 * kWidth] = std::numeric_limits<float>::quiet_NaN();
      rows.call.coding = linear->input_coding();
      NormAndQuantizeWith(HostFloatCompanions(), *kernel().ops, rows.call);
      std::vector<float> from_codes(kRows * kN);
      std::vector<float> from_floats(kRows * kN);
      const LinearInput codes =
          LinearInput::Codes({rows.codes.data(), kRows, kWidth}, rows.scales);
      ASSERT_TRUE(linear
                      ->Run(codes,
                            LinearOutput::Fp32({from_codes.data(), kRows, kN}),
                            {})
                      .ok());
      ASSERT_TRUE(linear
                      ->Run({rows.y.data(), kRows, kWidth},
                            {from_floats.data(), kRows, kN}, {})
                      .ok());
      EXPECT_EQ(Bits(from_codes), Bits(from_floats));
    }
  }
}

TEST(NormQuantize, ThreadsChangeNothingAndTimeIsTaken) {
  constexpr size_t kRows = 1000;
  constexpr size_t kWidth = 96;
  Rows alone(kRows, kWidth);
  NormAndQuantize(alone.call, nullptr);
  Rows shared(kRows, kWidth);
  ThreadPool pool(3);
  uint64_t ns = 0;
  shared.call.quantize_ns = &ns;
  NormAndQuantize(shared.call, &pool);
  EXPECT_EQ(pool.shared_calls(), 1);
  EXPECT_GT(ns, 0);
  EXPECT_EQ(shared.codes, alone.codes);
  EXPECT_EQ(Bits(shared.scales), Bits(alone.scales));
  std::vector<float> y(kRows * kWidth);
  LayerNorm(alone.call.x, alone.weight, alone.bias, 1e-5F,
            {y.data(), kRows, kWidth}, nullptr);
  EXPECT_EQ(Bits(shared.y), Bits(y));
}

}  // namespace
}  // namespace octet::kernels
