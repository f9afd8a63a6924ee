// Rows of activations to u8 codes.
//
//   per token (dynamic)   scale[m] = max_k |x[m,k]| / 127
//                         code     = round_half_even(x / scale[m]) + 128
//   static affine         scale[m] = input_scale
//                         code     = clamp(round(x / scale) + zp, 0, 255)
//
// where the division is the multiplication of rounding.h. Bit-equal on every
// instruction set.
//
// Outlier columns and live outliers, |x| >= threshold, get the zero code and
// do not count for the scale (LLM.int8, Dettmers et al. 2022, section 3.2).
// A row of zeros gets scale 1 and zero codes. A row with a NaN or an infinity
// anywhere, outliers included, gets a NaN scale and zero codes.

#ifndef OCTET_KERNELS_QUANTIZE_ROWS_H_
#define OCTET_KERNELS_QUANTIZE_ROWS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/int8_linear.h"
#include "kernels/tile_ops.h"

namespace octet::kernels {

struct RowCoding {
  ActivationCoding coding = ActivationCoding::kPerToken;
  float input_scale = 1.0F;      // kStaticAffine only
  int32_t input_zero_point = 0;  // kStaticAffine only, in [0, 255]
  RowFilter filter;

  // The code of x = 0.
  int32_t zero_code() const {
    return coding == ActivationCoding::kPerToken ? 128 : input_zero_point;
  }
};

struct QuantizedRow {
  float scale = 1.0F;
  bool has_live = false;  // some |x| >= threshold outside the outlier columns
};

// Writes k codes, then the zero code up to `padded_k`.
QuantizedRow QuantizeRow(const TileOps& ops, const RowCoding& coding,
                         const float* x, size_t k, size_t padded_k,
                         uint8_t* codes);

// The bits that RowFilter::live_bits wants; 0 stands for "no threshold".
uint32_t LiveBits(float threshold);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_QUANTIZE_ROWS_H_
