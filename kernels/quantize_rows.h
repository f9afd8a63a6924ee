// Rows of activations to codes, stored as bytes: u8, or s8 for a kernel that
// takes its code_offset of 128 off (registry.h).
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
  int32_t code_offset = 0;       // of the kernel that reads the codes
  RowFilter filter;

  // What stands for x = 0 among the stored bytes.
  int32_t zero_byte() const {
    const bool per_token = coding == ActivationCoding::kPerToken;
    return (per_token ? 128 : input_zero_point) - code_offset;
  }
};

struct QuantizedRow {
  float scale = 1.0F;
  bool has_live = false;  // some |x| >= threshold outside the outlier columns
};

// Writes k codes, then the code of zero up to `padded_k`.
QuantizedRow QuantizeRow(const TileOps& ops, const RowCoding& coding,
                         const float* x, size_t k, size_t padded_k,
                         uint8_t* codes);

// The bits that RowFilter::live_bits wants; 0 stands for "no threshold".
uint32_t LiveBits(float threshold);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_QUANTIZE_ROWS_H_
