// A matrix that somebody else owns: rows of elements, `stride` elements apart.

#ifndef OCTET_KERNELS_MATRIX_VIEW_H_
#define OCTET_KERNELS_MATRIX_VIEW_H_

#include <cstddef>
#include <type_traits>

namespace octet::kernels {

template <typename T>
struct MatrixView {
  T* data = nullptr;
  size_t rows = 0;
  size_t cols = 0;
  size_t stride = 0;  // elements from one row to the next, >= cols

  constexpr MatrixView() = default;
  constexpr MatrixView(T* data, size_t rows, size_t cols)
      : MatrixView(data, rows, cols, cols) {}
  constexpr MatrixView(T* data, size_t rows, size_t cols, size_t stride)
      : data(data), rows(rows), cols(cols), stride(stride) {}

  // A view of mutable elements is also a view of const ones.
  template <typename U>
    requires std::is_same_v<const U, T>
  // NOLINTNEXTLINE(google-explicit-constructor)
  constexpr MatrixView(const MatrixView<U>& other)
      : MatrixView(other.data, other.rows, other.cols, other.stride) {}

  constexpr T* row(size_t i) const { return data + i * stride; }

  // Rows [begin, begin + count).
  constexpr MatrixView Rows(size_t begin, size_t count) const {
    return {data + begin * stride, count, cols, stride};
  }

  // Columns [begin, begin + count) of every row.
  constexpr MatrixView Columns(size_t begin, size_t count) const {
    return {data + begin, rows, count, stride};
  }
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_MATRIX_VIEW_H_
