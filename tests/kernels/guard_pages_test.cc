// No buffer of a call is touched one byte before its beginning or behind its
// end: each stands against a page that faults, in turn at either side, with
// ragged shapes, rows of larger strides, and every kernel.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/activation.h"
#include "kernels/element_type.h"
#include "kernels/float_companions.h"
#include "kernels/half.h"
#include "kernels/int8_linear.h"
#include "kernels/linear_io.h"
#include "kernels/matrix_view.h"
#include "kernels/norm_quantize.h"
#include "tests/kernels/guarded.h"
#include "tests/kernels/kernel_testing.h"
#include "tests/kernels/layer_testing.h"

namespace octet::kernels {
namespace {

std::vector<uint16_t> InSixteenBits(const std::vector<float>& values) {
  std::vector<uint16_t> bits;
  for (const float value : values) bits.push_back(FloatToBf16(value));
  return bits;
}

class GuardPages : public EveryKernel {
 protected:
  // The layer between guard pages gives what it gives elsewhere.
  void Expect(const Layer& layer, size_t gap, Side side) {
    const Guarded codes(layer.codes, side);
    const Guarded scales(layer.scales, side);
    const Guarded bias(layer.bias, side);
    const Guarded columns(layer.columns, side);
    const Guarded fp16(layer.fp16, side);
    const Guarded smoothing(layer.inverse_smoothing, side);
    Int8LinearSpec spec = layer.Spec();
    spec.codes.data = codes.data();
    spec.scales = scales.span();
    spec.bias = bias.span();
    spec.outlier_columns = columns.span();
    spec.outlier_weights.data = fp16.data();
    spec.inverse_smoothing = smoothing.span();
    const auto linear = Int8Linear::CreateWith(kernel(), spec);
    ASSERT_TRUE(linear.ok()) << linear.status();

    const GuardedMatrix<float> x(layer.x, layer.m, layer.k, gap, side);
    const GuardedMatrix<float> residual(layer.residual, layer.m, layer.n, gap,
                                        side);
    const GuardedMatrix<float> y(layer.m, layer.n, gap, side);
    LinearCall call;
    call.activation = layer.activation;
    if (layer.with_residual) call.residual = residual.const_view();
    ASSERT_TRUE(linear->Run(x.const_view(), y.view(), call).ok());
    EXPECT_EQ(Bits(y.Dense()), Bits(layer.Run(kernel())));
    EXPECT_TRUE(y.GapsAreUntouched());
  }

  void ExpectEverywhere(const Layer& layer) {
    for (const size_t gap : {0, 1, 13}) {
      for (const Side side : kBothSides) {
        SCOPED_TRACE(std::to_string(layer.m) + " x " + std::to_string(layer.n) +
                     " x " + std::to_string(layer.k) + ", gap " +
                     std::to_string(gap) + ", " + NameOf(side));
        Expect(layer, gap, side);
      }
    }
  }
};
OCTET_INSTANTIATE_FOR_EVERY_KERNEL(GuardPages);

// Around the widths of vectors, panels and groups.
constexpr size_t kRaggedN[] = {1, 7, 8, 9, 15, 17, 48, 63, 64, 65, 100};
constexpr size_t kRaggedK[] = {1, 2, 3, 4, 5, 8, 15, 16, 31, 33, 65};

TEST_P(GuardPages, PlainLinear) {
  for (const size_t n : kRaggedN) {
    for (const size_t k : kRaggedK) {
      for (const size_t m : {1, 7}) {
        ExpectEverywhere(Layer(m, n, k, /*seed=*/71));
      }
    }
  }
}

TEST_P(GuardPages, EveryEpilogue) {
  for (const size_t n : kRaggedN) {
    Layer layer(8, n, 37, /*seed=*/72);
    layer.activation = Activation::kGelu;
    layer.with_residual = true;
    ExpectEverywhere(layer);
    layer.SetStatic(0.02F, 3);
    ExpectEverywhere(layer);
  }
}

TEST_P(GuardPages, Outliers) {
  for (const size_t n : kRaggedN) {
    for (const size_t k : {1, 5, 16, 65}) {
      Layer layer(7, n, k, /*seed=*/73);
      layer.SetOutliers({static_cast<int32_t>(k) - 1}, 1.0F);
      ExpectEverywhere(layer);
    }
  }
}

TEST_P(GuardPages, GroupsOfK) {
  for (const size_t n : kRaggedN) {
    for (const size_t k : {1, 31, 33, 65, 100}) {
      Layer layer(7, n, k, /*seed=*/74);
      layer.SetGroups(32);
      ExpectEverywhere(layer);
    }
  }
}

TEST_P(GuardPages, SmoothingAndRotation) {
  for (const size_t k : kRaggedK) {
    Layer layer(7, 17, k, /*seed=*/75);
    layer.inverse_smoothing.resize(k);
    for (size_t i = 0; i < k; ++i) {
      layer.inverse_smoothing[i] = 0.5F + 0.25F * static_cast<float>(i % 5);
    }
    ExpectEverywhere(layer);
    layer.hadamard_block = 16;
    ExpectEverywhere(layer);
  }
}

TEST_P(GuardPages, SixteenBitsInAndOut) {
  for (const size_t n : kRaggedN) {
    for (const size_t k : kRaggedK) {
      const Layer layer(7, n, k, /*seed=*/76);
      const auto linear = Int8Linear::CreateWith(kernel(), layer.Spec());
      for (const Side side : kBothSides) {
        SCOPED_TRACE(std::to_string(n) + " x " + std::to_string(k) + ", " +
                     NameOf(side));
        const GuardedMatrix<uint16_t> x(InSixteenBits(layer.x), 7, k, 3, side);
        const GuardedMatrix<uint16_t> y(7, n, 3, side);
        for (const bool fp16 : {false, true}) {
          ASSERT_TRUE(linear
                          ->Run(fp16 ? LinearInput::Fp16(x.const_view())
                                     : LinearInput::Bf16(x.const_view()),
                                fp16 ? LinearOutput::Fp16(y.view())
                                     : LinearOutput::Bf16(y.view()),
                                {})
                          .ok());
          EXPECT_TRUE(y.GapsAreUntouched());
        }
      }
    }
  }
}

TEST_P(GuardPages, CodesInAndOut) {
  for (const size_t n : kRaggedN) {
    for (const size_t k : kRaggedK) {
      const Layer layer(7, n, k, /*seed=*/77);
      const auto linear = Int8Linear::CreateWith(kernel(), layer.Spec());
      const auto codes = RandomIntegers<uint8_t>(7 * k, 0, 255, 78);
      for (const Side side : kBothSides) {
        SCOPED_TRACE(std::to_string(n) + " x " + std::to_string(k) + ", " +
                     NameOf(side));
        const GuardedMatrix<uint8_t> x(codes, 7, k, 3, side);
        const Guarded scales(std::vector<float>(7, 0.01F), side);
        const GuardedMatrix<uint8_t> y(7, n, 3, side);
        const Guarded row_scales(std::vector<float>(7), side);
        ASSERT_TRUE(
            linear
                ->Run(LinearInput::Codes(x.const_view(), scales.span()),
                      LinearOutput::Codes(y.view(), 0.1F, 9, row_scales.span()),
                      {})
                .ok());
        EXPECT_TRUE(y.GapsAreUntouched());
      }
    }
  }
}

TEST_P(GuardPages, RangesOfColumns) {
  const size_t step = kernel().nr;
  const Layer layer(7, 3 * step + 5, 33, /*seed=*/79);
  const auto linear = Int8Linear::CreateWith(kernel(), layer.Spec());
  for (const auto& [first, count] : std::vector<std::pair<size_t, size_t>>{
           {0, step}, {step, 2 * step}, {3 * step, 5}}) {
    for (const Side side : kBothSides) {
      SCOPED_TRACE(std::to_string(first) + ", " + NameOf(side));
      const GuardedMatrix<float> x(layer.x, 7, 33, 1, side);
      const GuardedMatrix<float> y(7, count, 3, side);
      ASSERT_TRUE(linear->RunColumns(first, x.const_view(), y.view(), {}).ok());
      EXPECT_TRUE(y.GapsAreUntouched());
    }
  }
}

TEST_P(GuardPages, NormAndQuantize) {
  for (const size_t width : {1, 3, 7, 8, 15, 17, 63, 65, 100}) {
    for (const Side side : kBothSides) {
      for (const bool transforms : {false, true}) {
        SCOPED_TRACE(std::to_string(width) + ", " + NameOf(side));
        const GuardedMatrix<float> x(RandomFloats(5 * width, 80), 5, width, 3,
                                     side);
        const Guarded weight(RandomFloats(width, 81), side);
        const Guarded bias(RandomFloats(width, 82), side);
        const Guarded smoothing(std::vector<float>(width, 0.5F), side);
        const GuardedMatrix<float> y(5, width, 3, side);
        const GuardedMatrix<uint8_t> codes(5, width, 3, side);
        const Guarded scales(std::vector<float>(5), side);
        NormQuantize call = {x.const_view(), weight.span(), bias.span(),
                             1e-5F,          y.view(),      {},
                             codes.view(),   scales.data()};
        if (transforms) call.coding.inverse_smoothing = smoothing.data();
        if (transforms) call.coding.hadamard_block = 16;
        for (const bool is_rms : {false, true}) {
          if (is_rms) call.bias = {};
          NormAndQuantizeWith(HostFloatCompanions(), *kernel().ops, call);
          EXPECT_TRUE(y.GapsAreUntouched() && codes.GapsAreUntouched());
        }
      }
    }
  }
}

TEST_P(GuardPages, Activations) {
  for (const size_t count : {1, 3, 7, 8, 15, 16, 17, 31, 33, 65}) {
    for (const Side side : kBothSides) {
      const Guarded values(RandomFloats(count, 83), side);
      for (const Activation activation :
           {Activation::kRelu, Activation::kGelu, Activation::kGeluTanh,
            Activation::kSilu}) {
        kernel().ops->activate(activation, values.data(), count);
      }
    }
  }
}

}  // namespace
}  // namespace octet::kernels
