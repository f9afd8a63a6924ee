// What goes in and comes out besides FP32.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/half.h"
#include "kernels/int8_linear.h"
#include "kernels/linear_io.h"
#include "kernels/registry.h"
#include "kernels/rounding.h"
#include "kernels/thread_pool.h"
#include "tests/kernels/kernel_testing.h"
#include "tests/kernels/layer_testing.h"

namespace octet::kernels {
namespace {

using ::testing::HasSubstr;

// Rounds x to 16 bits and returns those.
std::vector<uint16_t> MakeSixteenBit(ElementType type, std::vector<float>& x) {
  std::vector<uint16_t> bits;
  for (float& value : x) {
    const bool fp16 = type == ElementType::kFp16;
    bits.push_back(fp16 ? FloatToFp16(value) : FloatToBf16(value));
    value = fp16 ? Fp16ToFloat(bits.back()) : Bf16ToFloat(bits.back());
  }
  return bits;
}

LinearInput SixteenBitInput(ElementType type, MatrixView<const uint16_t> x) {
  return type == ElementType::kFp16 ? LinearInput::Fp16(x)
                                    : LinearInput::Bf16(x);
}

LinearCall CallOf(const Layer& layer) {
  LinearCall call;
  call.activation = layer.activation;
  if (layer.with_residual) {
    call.residual = {layer.residual.data(), layer.m, layer.n};
  }
  return call;
}

class LinearIo : public EveryKernel {};
OCTET_INSTANTIATE_FOR_EVERY_KERNEL(LinearIo);

TEST_P(LinearIo, SixteenBitInputCountsAsTheFloatsItHolds) {
  for (const ElementType type : {ElementType::kFp16, ElementType::kBf16}) {
    for (const size_t k : {1, 15, 37, 200}) {
      Layer layer(9, 70, k, /*seed=*/51);
      layer.x[k / 2] = 1e-6F;  // no normal FP16
      const std::vector<uint16_t> bits = MakeSixteenBit(type, layer.x);
      for (const bool outliers : {false, true}) {
        SCOPED_TRACE("seed 51, K " + std::to_string(k));
        if (outliers) layer.SetOutliers({0}, 1.5F);
        const auto linear = Int8Linear::CreateWith(kernel(), layer.Spec());
        const GuardedMemory x(bits.size() * sizeof(uint16_t),
                              GuardedMemory::Side::kBack);
        std::copy(bits.begin(), bits.end(), x.As<uint16_t>());
        std::vector<float> y(layer.m * layer.n);
        ASSERT_TRUE(
            linear
                ->Run(SixteenBitInput(type, {x.As<uint16_t>(), layer.m, k}),
                      LinearOutput::Fp32({y.data(), layer.m, layer.n}), {})
                .ok());
        ASSERT_EQ(Bits(y), Bits(layer.Run(kernel())));
      }
    }
  }
}

// What a layer can do to its input, by itself and all together.
std::vector<Layer> LayersOfEveryKind(size_t k) {
  const Layer plain(9, 70, k, /*seed=*/58);
  std::vector<float> factors(k);
  for (size_t i = 0; i < k; ++i) {
    factors[i] = 0.5F + 0.25F * static_cast<float>(i % 5);
  }
  std::vector<Layer> layers(5, plain);
  layers[0].SetStatic(0.02F, 120);
  layers[1].inverse_smoothing = factors;
  layers[2].hadamard_block = 32;
  layers[3].SetStatic(0.02F, 120);
  for (Layer* all : {&layers[3], &layers[4]}) {
    all->inverse_smoothing = factors;
    all->hadamard_block = 32;
    all->SetOutliers({0, static_cast<int32_t>(k) - 1}, 2.0F);
    all->SetGroups(32);
  }
  return layers;
}

TEST_P(LinearIo, SixteenBitInputPassesThroughEveryTransform) {
  for (const ElementType type : {ElementType::kFp16, ElementType::kBf16}) {
    for (const size_t k : {15, 37, 200}) {
      std::vector<Layer> layers = LayersOfEveryKind(k);
      for (size_t i = 0; i < layers.size(); ++i) {
        SCOPED_TRACE("seed 58, K " + std::to_string(k) + ", layer " +
                     std::to_string(i));
        Layer& layer = layers[i];
        const std::vector<uint16_t> bits = MakeSixteenBit(type, layer.x);
        const auto linear = Int8Linear::CreateWith(kernel(), layer.Spec());
        ASSERT_TRUE(linear.ok()) << linear.status();
        std::vector<float> y(layer.m * layer.n);
        ASSERT_TRUE(linear
                        ->Run(SixteenBitInput(type, {bits.data(), layer.m, k}),
                              LinearOutput::Fp32({y.data(), layer.m, layer.n}),
                              {})
                        .ok());
        EXPECT_EQ(Bits(y), Bits(layer.Run(kernel())));
      }
    }
  }
}

TEST_P(LinearIo, SixteenBitOutputIsTheFloatRoundedOnce) {
  for (const size_t n : {1, 15, 64, 100}) {
    Layer layer(9, n, 83, /*seed=*/52);
    layer.activation = Activation::kGelu;
    layer.with_residual = true;
    SCOPED_TRACE("seed 52, N " + std::to_string(n));
    const std::vector<float> expected = layer.Run(kernel());
    const auto linear = Int8Linear::CreateWith(kernel(), layer.Spec());
    const GuardedMemory y(expected.size() * sizeof(uint16_t),
                          GuardedMemory::Side::kBack);
    const LinearInput x = LinearInput::Fp32({layer.x.data(), 9, 83});
    const MatrixView<uint16_t> view(y.As<uint16_t>(), 9, n);
    ASSERT_TRUE(linear->Run(x, LinearOutput::Fp16(view), CallOf(layer)).ok());
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_EQ(view.data[i], FloatToFp16(expected[i])) << i;
    }
    ASSERT_TRUE(linear->Run(x, LinearOutput::Bf16(view), CallOf(layer)).ok());
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_EQ(view.data[i], FloatToBf16(expected[i])) << i;
    }
  }
}

// A layer that hands codes to a static one: what FP32 in between would give.
TEST_P(LinearIo, CodesOfOneLayerAreTheInputOfTheNext) {
  constexpr size_t kM = 40;
  constexpr size_t kN = 333;
  Layer first(kM, kN, 90, /*seed=*/53);
  first.activation = Activation::kRelu;
  first.x[7 * 90 + 3] = std::nanf("");
  Layer second(kM, 50, kN, /*seed=*/54);
  second.SetStatic(0.04F, 9);
  second.x = first.Run(kernel());
  const std::vector<float> expected = second.Run(kernel());

  const auto one = Int8Linear::CreateWith(kernel(), first.Spec());
  const auto two = Int8Linear::CreateWith(kernel(), second.Spec());
  for (const size_t threads : {1, 3}) {
    ThreadPool pool(threads);
    LinearCall call = CallOf(first);
    call.pool = &pool;
    const GuardedMemory codes(kM * kN, GuardedMemory::Side::kBack);
    std::vector<float> scales(kM);
    ASSERT_TRUE(one->Run(LinearInput::Fp32({first.x.data(), kM, 90}),
                         LinearOutput::Codes({codes.As<uint8_t>(), kM, kN},
                                             0.04F, 9, absl::MakeSpan(scales)),
                         call)
                    .ok());
    std::vector<float> y(kM * 50);
    ASSERT_TRUE(
        two->Run(LinearInput::Codes({codes.As<uint8_t>(), kM, kN}, scales),
                 LinearOutput::Fp32({y.data(), kM, 50}), {})
            .ok());
    for (size_t i = 0; i < y.size(); ++i) {
      if (i / 50 == 7) {
        ASSERT_TRUE(std::isnan(y[i]) && std::isnan(expected[i])) << i;
      } else {
        ASSERT_EQ(y[i], expected[i]) << "seeds 53 and 54, " << i;
      }
    }
  }
}

// A producer may also quantize per token, at zero point 128.
TEST_P(LinearIo, CodesBringTheirOwnScales) {
  const Layer layer(11, 60, 77, /*seed=*/55);
  std::vector<uint8_t> codes;
  std::vector<float> scales;
  for (size_t m = 0; m < layer.m; ++m) {
    const float* x = layer.x.data() + m * layer.k;
    float absmax = 0.0F;
    for (size_t i = 0; i < layer.k; ++i) {
      absmax = std::max(absmax, std::fabs(x[i]));
    }
    scales.push_back(AbsmaxToScale(absmax));
    for (size_t i = 0; i < layer.k; ++i) {
      const int32_t code = SymmetricCode(x[i], InverseScale(scales.back()));
      codes.push_back(static_cast<uint8_t>(code + 128));
    }
  }
  const auto linear = Int8Linear::CreateWith(kernel(), layer.Spec());
  std::vector<float> y(layer.m * layer.n);
  ASSERT_TRUE(linear
                  ->Run(LinearInput::Codes({codes.data(), 11, 77}, scales),
                        LinearOutput::Fp32({y.data(), 11, 60}), {})
                  .ok());
  EXPECT_EQ(Bits(y), Bits(layer.Run(kernel()))) << "seed 55";
}

TEST_P(LinearIo, StridesSeparateRowsOfEveryType) {
  const Layer layer(3, 20, 33, /*seed=*/56);
  const auto linear = Int8Linear::CreateWith(kernel(), layer.Spec());
  std::vector<float> x(size_t{3} * 40, 1e9F);
  for (size_t m = 0; m < 3; ++m) {
    std::copy_n(layer.x.data() + m * 33, 33, x.data() + m * 40);
  }
  std::vector<uint16_t> bits = MakeSixteenBit(ElementType::kBf16, x);
  std::vector<uint16_t> y(size_t{3} * 25, 7);
  ASSERT_TRUE(linear
                  ->Run(LinearInput::Bf16({bits.data(), 3, 33, 40}),
                        LinearOutput::Bf16({y.data(), 3, 20, 25}), {})
                  .ok());
  Layer dense = layer;
  MakeSixteenBit(ElementType::kBf16, dense.x);
  const std::vector<float> expected = dense.Run(kernel());
  for (size_t i = 0; i < y.size(); ++i) {
    const size_t at = i / 25 * 20 + i % 25;
    ASSERT_EQ(y[i], i % 25 < 20 ? FloatToBf16(expected[at]) : 7) << i;
  }
}

TEST_P(LinearIo, InfinityInSixteenBitsGivesARowOfNaN) {
  const Layer layer(3, 20, 33, /*seed=*/57);
  const auto linear = Int8Linear::CreateWith(kernel(), layer.Spec());
  std::vector<float> x = layer.x;
  std::vector<uint16_t> bits = MakeSixteenBit(ElementType::kFp16, x);
  bits[33 + 32] = 0x7c00;
  std::vector<float> y(size_t{3} * 20);
  ASSERT_TRUE(linear
                  ->Run(LinearInput::Fp16({bits.data(), 3, 33}),
                        LinearOutput::Fp32({y.data(), 3, 20}), {})
                  .ok());
  for (size_t i = 0; i < y.size(); ++i) {
    ASSERT_EQ(std::isnan(y[i]), i / 20 == 1) << i;
  }
}

TEST(LinearIoRefuses, WhatDoesNotFitByName) {
  Layer layer(2, 4, 5, /*seed=*/1);
  std::vector<uint8_t> codes(10);
  std::vector<uint8_t> out(8);
  std::vector<float> scales(2, 1.0F);
  const LinearInput x = LinearInput::Fp32({layer.x.data(), 2, 5});
  const LinearInput coded = LinearInput::Codes({codes.data(), 2, 5}, scales);
  std::vector<float> y(8);
  const LinearOutput floats = LinearOutput::Fp32({y.data(), 2, 4});
  const auto message = [&](const LinearInput& in, const LinearOutput& to) {
    const auto linear = Int8Linear::Create(layer.Spec());
    return std::string(linear->Run(in, to, {}).message());
  };
  const auto codes_out = [&](float scale, int32_t zero_point, size_t rows) {
    return LinearOutput::Codes({out.data(), 2, 4}, scale, zero_point,
                               absl::MakeSpan(scales).subspan(0, rows));
  };
  EXPECT_EQ(message(coded, codes_out(1.0F, 0, 2)), "");
  EXPECT_THAT(message(x, codes_out(0.0F, 0, 2)), HasSubstr("scale of y is 0"));
  EXPECT_THAT(message(x, codes_out(1.0F, 256, 2)),
              HasSubstr("zero_point of y is 256"));
  EXPECT_THAT(message(x, codes_out(1.0F, 0, 1)),
              HasSubstr("row_scales of y holds 1 values; it has 2 rows"));
  EXPECT_THAT(message(LinearInput::Codes({codes.data(), 2, 5}, {}), floats),
              HasSubstr("row_scales of x holds 0 values"));
  EXPECT_THAT(message(LinearInput::Codes({codes.data(), 2, 4}, scales), floats),
              HasSubstr("x has shape [2, 4]"));
  layer.SetOutliers({}, 6.0F);
  EXPECT_THAT(message(coded, floats), HasSubstr("x holds codes"));
}

}  // namespace
}  // namespace octet::kernels
