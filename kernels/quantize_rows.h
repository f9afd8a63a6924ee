// Rows of activations to codes, stored as bytes: u8, or s8 for a kernel that
// takes its code_offset of 128 off (registry.h).
//
//   v     = x[k] as FP32, * inverse_smoothing[k]      (SmoothQuant, optional)
//   v     = H v, without the outlier columns          (hadamard.h, optional)
//
//   per token (dynamic)   scale[m] = max_k |v[m,k]| / 127
//                         code     = round_half_even(v / scale[m]) + 128
//   static affine         scale[m] = input_scale
//                         code     = clamp(round(v / scale) + zp, 0, 255)
//
// where the division is the multiplication of rounding.h, and every product is
// rounded to FP32. Bit-equal on every instruction set.
//
// Outlier columns and live outliers, |v| >= threshold, get the zero code and
// do not count for the scale (LLM.int8, Dettmers et al. 2022, section 3.2).
// Columns are taken out of the smoothed row, before it is rotated: their float
// weights are smoothed, but not rotated. Live outliers are looked for among
// the values that are coded, after the rotation: their weights are the codes.
//
// A row of zeros gets scale 1 and zero codes. A row with a NaN or an infinity
// anywhere, outliers included, gets a NaN scale and zero codes.

#ifndef OCTET_KERNELS_QUANTIZE_ROWS_H_
#define OCTET_KERNELS_QUANTIZE_ROWS_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "kernels/element_type.h"
#include "kernels/int8_linear.h"
#include "kernels/tile_ops.h"

namespace octet::kernels {

struct RowCoding {
  ActivationCoding coding = ActivationCoding::kPerToken;
  float input_scale = 1.0F;      // kStaticAffine only
  int32_t input_zero_point = 0;  // kStaticAffine only, in [0, 255]
  int32_t code_offset = 0;       // of the kernel that reads the codes
  RowFilter filter;
  absl::Span<const int32_t> outlier_columns;  // those that `filter` takes out
  const float* inverse_smoothing = nullptr;   // [K], or none
  size_t hadamard_block = 0;                  // 0: no rotation

  // x is not coded as it is.
  bool transforms() const {
    return inverse_smoothing != nullptr || hadamard_block != 0;
  }
  // Every value of x is coded as it is.
  bool plain() const {
    return !transforms() && outlier_columns.empty() &&
           filter.live_bits == RowFilter{}.live_bits;
  }
  int32_t zero_point() const {
    return coding == ActivationCoding::kPerToken ? 128 : input_zero_point;
  }
  // What stands for x = 0 among the stored bytes.
  int32_t zero_byte() const { return zero_point() - code_offset; }
};

// A row before it is coded.
struct MeasuredRow {
  const float* values = nullptr;  // v: x itself, or where it was put
  float scale = 1.0F;
  bool has_live = false;  // some |v| >= threshold outside the outlier columns
};

// x is a row of k elements of `type`, which is not kCode. `values` [k] is
// written where v is not x itself, `outliers` [outlier columns] with the
// smoothed values that are taken out.
MeasuredRow MeasureRow(const TileOps& ops, const RowCoding& coding,
                       const void* x, ElementType type, size_t k, float* values,
                       float* outliers);

// Writes k codes, then the code of zero up to `padded_k`. Measuring the next
// row before a row is coded hides the wait for the scale.
void CodeRow(const TileOps& ops, const RowCoding& coding,
             const MeasuredRow& row, size_t k, size_t padded_k, uint8_t* codes);

// CodeRow of x and the scale of `next` in one pass, where the coding is plain()
// per token and rows are FP32. For a row two ahead, the wait for a scale is
// hidden, too.
float CodeRowAndMeasure(const TileOps& ops, const RowCoding& coding,
                        const float* x, float scale, size_t k, size_t padded_k,
                        uint8_t* codes, const float* next);

// MeasureRow and CodeRow of x in one pass, where the coding is plain() and
// static, and rows are FP32. The scale.
float CodeStaticRow(const TileOps& ops, const RowCoding& coding, const float* x,
                    size_t k, size_t padded_k, uint8_t* codes);

// Codes that are there already (kStaticAffine) as the kernel wants them.
void CopyCodes(const RowCoding& coding, const uint8_t* x, size_t k,
               size_t padded_k, uint8_t* codes);

// The bits that RowFilter::live_bits wants; 0 stands for "no threshold".
uint32_t LiveBits(float threshold);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_QUANTIZE_ROWS_H_
