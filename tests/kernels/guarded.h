// Values and matrices between pages that fault (kernel_testing.h).

#ifndef OCTET_TESTS_KERNELS_GUARDED_H_
#define OCTET_TESTS_KERNELS_GUARDED_H_

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "kernels/matrix_view.h"
#include "tests/kernels/kernel_testing.h"

namespace octet::kernels {

using Side = GuardedMemory::Side;

inline constexpr Side kBothSides[] = {Side::kFront, Side::kBack};

inline std::string NameOf(Side side) {
  return side == Side::kFront ? "front" : "back";
}

// A copy of values.
template <typename T>
class Guarded {
 public:
  Guarded(const std::vector<T>& values, Side side)
      : memory_(values.size() * sizeof(T), side), size_(values.size()) {
    std::copy(values.begin(), values.end(), memory_.As<T>());
  }

  T* data() const { return memory_.As<T>(); }
  absl::Span<T> span() const { return {data(), size_}; }
  std::vector<T> values() const { return {data(), data() + size_}; }

 private:
  GuardedMemory memory_;
  size_t size_;
};

// A matrix whose rows are `gap` values apart; nothing follows the last one.
template <typename T>
class GuardedMatrix {
 public:
  GuardedMatrix(const std::vector<T>& dense, size_t rows, size_t cols,
                size_t gap, Side side)
      : memory_(((rows - 1) * (cols + gap) + cols) * sizeof(T), side),
        view_{memory_.As<T>(), rows, cols, cols + gap} {
    std::fill_n(view_.data, (rows - 1) * view_.stride + cols, kBetween);
    for (size_t r = 0; r < rows; ++r) {
      std::copy_n(dense.data() + r * cols, cols, view_.row(r));
    }
  }
  // Zeros.
  GuardedMatrix(size_t rows, size_t cols, size_t gap, Side side)
      : GuardedMatrix(std::vector<T>(rows * cols), rows, cols, gap, side) {}

  MatrixView<T> view() const { return view_; }
  MatrixView<const T> const_view() const {
    return {view_.data, view_.rows, view_.cols, view_.stride};
  }

  std::vector<T> Dense() const {
    std::vector<T> dense;
    for (size_t r = 0; r < view_.rows; ++r) {
      dense.insert(dense.end(), view_.row(r), view_.row(r) + view_.cols);
    }
    return dense;
  }

  bool GapsAreUntouched() const {
    for (size_t r = 0; r + 1 < view_.rows; ++r) {
      const T* gap = view_.row(r) + view_.cols;
      const size_t width = view_.stride - view_.cols;
      if (std::count(gap, gap + width, kBetween) != width) return false;
    }
    return true;
  }

 private:
  static constexpr T kBetween = T{77};

  GuardedMemory memory_;
  MatrixView<T> view_;
};

}  // namespace octet::kernels

#endif  // OCTET_TESTS_KERNELS_GUARDED_H_
