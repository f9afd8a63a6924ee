// No buffer of a call is touched one byte before its beginning or behind its
// end: each stands against a page that faults, in turn at either side, with
// ragged shapes, rows of larger strides, and every kernel.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/activation.h"
#include "kernels/int8_linear.h"
#include "kernels/matrix_view.h"
#include "tests/kernels/kernel_testing.h"
#include "tests/kernels/layer_testing.h"

namespace octet::kernels {
namespace {

using Side = GuardedMemory::Side;

// A copy of values between guard pages.
template <typename T>
class Guarded {
 public:
  Guarded(const std::vector<T>& values, Side side)
      : memory_(values.size() * sizeof(T), side), size_(values.size()) {
    std::copy(values.begin(), values.end(), memory_.As<T>());
  }

  T* data() const { return memory_.As<T>(); }
  absl::Span<const T> span() const { return {data(), size_}; }

 private:
  GuardedMemory memory_;
  size_t size_;
};

// A matrix whose rows are `gap` values apart; nothing follows the last one.
class GuardedMatrix {
 public:
  GuardedMatrix(const std::vector<float>& dense, size_t rows, size_t cols,
                size_t gap, Side side)
      : memory_(((rows - 1) * (cols + gap) + cols) * sizeof(float), side),
        view_{memory_.As<float>(), rows, cols, cols + gap} {
    std::fill_n(view_.data, (rows - 1) * view_.stride + cols, kBetween);
    for (size_t r = 0; r < rows; ++r) {
      std::copy_n(dense.data() + r * cols, cols, view_.row(r));
    }
  }

  MatrixView<float> view() const { return view_; }
  MatrixView<const float> const_view() const {
    return {view_.data, view_.rows, view_.cols, view_.stride};
  }

  std::vector<float> Dense() const {
    std::vector<float> dense;
    for (size_t r = 0; r < view_.rows; ++r) {
      dense.insert(dense.end(), view_.row(r), view_.row(r) + view_.cols);
    }
    return dense;
  }

  bool GapsAreUntouched() const {
    for (size_t r = 0; r + 1 < view_.rows; ++r) {
      const float* gap = view_.row(r) + view_.cols;
      const size_t width = view_.stride - view_.cols;
      if (std::count(gap, gap + width, kBetween) != width) return false;
    }
    return true;
  }

 private:
  static constexpr float kBetween = 777.0F;

  GuardedMemory memory_;
  MatrixView<float> view_;
};

class GuardPages : public EveryKernel {
 protected:
  // The layer between guard pages gives what it gives elsewhere.
  void Expect(const Layer& layer, size_t gap, Side side) {
    const Guarded codes(layer.codes, side);
    const Guarded scales(layer.scales, side);
    const Guarded bias(layer.bias, side);
    const Guarded columns(layer.columns, side);
    const Guarded fp16(layer.fp16, side);
    Int8LinearSpec spec = layer.Spec();
    spec.codes.data = codes.data();
    spec.scales = scales.span();
    spec.bias = bias.span();
    spec.outlier_columns = columns.span();
    spec.outlier_weights.data = fp16.data();
    const auto linear = Int8Linear::CreateWith(kernel(), spec);
    ASSERT_TRUE(linear.ok()) << linear.status();

    const GuardedMatrix x(layer.x, layer.m, layer.k, gap, side);
    const GuardedMatrix residual(layer.residual, layer.m, layer.n, gap, side);
    const GuardedMatrix y(std::vector<float>(layer.m * layer.n), layer.m,
                          layer.n, gap, side);
    LinearCall call;
    call.activation = layer.activation;
    if (layer.with_residual) call.residual = residual.const_view();
    ASSERT_TRUE(linear->Run(x.const_view(), y.view(), call).ok());
    EXPECT_EQ(Bits(y.Dense()), Bits(layer.Run(kernel())));
    EXPECT_TRUE(y.GapsAreUntouched());
  }

  void ExpectEverywhere(const Layer& layer) {
    for (const size_t gap : {0, 1, 13}) {
      for (const Side side : {Side::kFront, Side::kBack}) {
        SCOPED_TRACE(std::to_string(layer.m) + " x " + std::to_string(layer.n) +
                     " x " + std::to_string(layer.k) + ", gap " +
                     std::to_string(gap) +
                     (side == Side::kFront ? ", front" : ", back"));
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

}  // namespace
}  // namespace octet::kernels
