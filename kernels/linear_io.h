// What goes into an int8 linear and what comes out: matrices of FP32, of 16-bit
// floats, or of u8 codes with a scale per row,
//
//   x[m,k] = row_scale[m] * (code[m,k] - zero_point)
//
// so that layers can hand codes to each other. A NaN scale marks a row that is
// no number: whatever is computed from it is NaN.

#ifndef OCTET_KERNELS_LINEAR_IO_H_
#define OCTET_KERNELS_LINEAR_IO_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "kernels/element_type.h"
#include "kernels/matrix_view.h"

namespace octet::kernels {

inline size_t ElementSize(ElementType type) {
  if (type == ElementType::kFp32) return sizeof(float);
  return type == ElementType::kCode ? sizeof(uint8_t) : sizeof(uint16_t);
}

struct LinearInput {
  LinearInput() = default;

  static LinearInput Fp32(MatrixView<const float> x) {
    return Of(x, ElementType::kFp32);
  }
  static LinearInput Fp16(MatrixView<const uint16_t> x) {
    return Of(x, ElementType::kFp16);
  }
  static LinearInput Bf16(MatrixView<const uint16_t> x) {
    return Of(x, ElementType::kBf16);
  }
  // Of x as the layer codes it: smoothed and rotated where it does that.
  // `row_scales` [M]. The zero point is the layer's: its input_zero_point, or
  // 128 where it quantizes per token.
  static LinearInput Codes(MatrixView<const uint8_t> x,
                           absl::Span<const float> row_scales) {
    LinearInput input = Of(x, ElementType::kCode);
    input.row_scales = row_scales;
    return input;
  }

  const void* row(size_t i) const {
    return static_cast<const uint8_t*>(data) + i * stride * ElementSize(type);
  }
  LinearInput Rows(size_t begin, size_t count) const {
    LinearInput part = *this;
    part.data = row(begin);
    part.rows = count;
    if (type == ElementType::kCode) {
      part.row_scales = row_scales.subspan(begin, count);
    }
    return part;
  }

  ElementType type = ElementType::kFp32;
  const void* data = nullptr;
  size_t rows = 0;
  size_t cols = 0;
  size_t stride = 0;                   // elements
  absl::Span<const float> row_scales;  // kCode only

 private:
  template <typename T>
  static LinearInput Of(MatrixView<const T> x, ElementType type) {
    LinearInput input;
    input.type = type;
    input.data = x.data;
    input.rows = x.rows;
    input.cols = x.cols;
    input.stride = x.stride;
    return input;
  }
};

struct LinearOutput {
  LinearOutput() = default;

  static LinearOutput Fp32(MatrixView<float> y) {
    return Of(y, ElementType::kFp32);
  }
  // Rounded half to even, denormals included; what is too large for FP16
  // becomes infinite; a NaN keeps its sign and upper payload, and is quiet.
  static LinearOutput Fp16(MatrixView<uint16_t> y) {
    return Of(y, ElementType::kFp16);
  }
  static LinearOutput Bf16(MatrixView<uint16_t> y) {
    return Of(y, ElementType::kBf16);
  }
  // code = clamp(round_half_even(y / scale) + zero_point, 0, 255), the division
  // as in rounding.h: the static input of a layer that follows. `row_scales`
  // [M] receive `scale`, or NaN where the row of x is not finite. A single NaN
  // in a finite row, from an overflow, becomes the zero point.
  static LinearOutput Codes(MatrixView<uint8_t> y, float scale,
                            int32_t zero_point, absl::Span<float> row_scales) {
    LinearOutput output = Of(y, ElementType::kCode);
    output.scale = scale;
    output.zero_point = zero_point;
    output.row_scales = row_scales;
    return output;
  }

  void* at(size_t row, size_t column) const {
    return static_cast<uint8_t*>(data) +
           (row * stride + column) * ElementSize(type);
  }
  LinearOutput Rows(size_t begin, size_t count) const {
    LinearOutput part = *this;
    part.data = at(begin, 0);
    part.rows = count;
    if (type == ElementType::kCode) {
      part.row_scales = row_scales.subspan(begin, count);
    }
    return part;
  }

  ElementType type = ElementType::kFp32;
  void* data = nullptr;
  size_t rows = 0;
  size_t cols = 0;
  size_t stride = 0;             // elements
  float scale = 1.0F;            // the rest is for kCode
  int32_t zero_point = 0;        // in [0, 255]
  absl::Span<float> row_scales;  // [M]

 private:
  template <typename T>
  static LinearOutput Of(MatrixView<T> y, ElementType type) {
    LinearOutput output;
    output.type = type;
    output.data = y.data;
    output.rows = y.rows;
    output.cols = y.cols;
    output.stride = y.stride;
    return output;
  }
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_LINEAR_IO_H_
