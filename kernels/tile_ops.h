// The float work around the dot products, one table of functions per
// instruction set. All of them run the same templates (row_ops_body.h,
// tile_ops_body.h, finish_body.h) and are bit-equal: every product and sum is
// rounded on its own, except the fused multiply-adds that the templates ask
// for by name.

#ifndef OCTET_KERNELS_TILE_OPS_H_
#define OCTET_KERNELS_TILE_OPS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/activation.h"
#include "kernels/element_type.h"
#include "kernels/microkernel.h"

namespace octet::kernels {

// out[k] = x[k] as FP32, times factors[k], rounded once, where there are any.
struct RowInput {
  const void* x = nullptr;
  ElementType type = ElementType::kFp32;  // but no codes
  const float* factors = nullptr;         // [k], or nullptr
};

// Which values of a row take part in the INT8 product.
struct RowFilter {
  // [k] all ones where the column stays, zeros where it is an outlier column;
  // nullptr: all stay.
  const uint32_t* keep = nullptr;
  // Bits of the smallest |x| that is a live outlier; infinity: none is.
  uint32_t live_bits = 0x7f800000;
};

// Largest |x| as bits, which order like integers; NaN and infinity are
// 0x7f800000 and above.
struct RowMaxima {
  uint32_t all = 0;       // the whole row
  uint32_t kept = 0;      // without outlier columns and live outliers
  bool has_live = false;  // live outliers, outside the outlier columns
};

// byte = clamp(round_half_even(x * inverse) + zero_point, 0, 255) ^ flip;
// filtered values count as 0. A flip of 128 makes an s8 of a u8 code.
struct CodeRule {
  float inverse = 1.0F;
  int32_t zero_point = 128;
  int32_t flip = 0;
  // The zero point is 128 and no product rounds to more than +-127, as where
  // the row's own maximum made the scale: nothing has to be clamped.
  bool symmetric = false;
};

// out[r, c] = sum_j x[r, j] * weights[j, c], fused, in the order of j.
struct FixedOutliers {
  const float* x = nullptr;  // [rows, count], contiguous
  size_t count = 0;
  const uint16_t* weights = nullptr;  // FP16 [count, padded N], at the panel
  size_t weights_stride = 0;
  float* out = nullptr;  // kMaxTileColumns apart
  size_t rows = 0;
  size_t width = 0;
};

// out[c] += sum_j x[j] * (scales[c] * W[c, columns[j]]), fused, in that order,
// of one row. With a scale per group of K, `scales` is the first group's.
struct LiveOutliers {
  const float* x = nullptr;
  const uint32_t* columns = nullptr;
  size_t count = 0;
  const int8_t* panel = nullptr;  // the packed panel the dot product reads
  size_t kr = 4;                  // as the kernel packs it
  int32_t weight_offset = 0;      // likewise: 0 or 128
  const float* scales = nullptr;
  size_t group_size = SIZE_MAX;  // k that share a scale
  size_t scales_stride = 0;      // from one group's scales to the next
  float* out = nullptr;
  size_t width = 0;
};

// sums[r, c] = fma(scales[c], acc[r, c], sums[r, c]): one group of K; the first
// one starts from 0. acc and sums are kMaxTileColumns apart.
struct GroupTile {
  const int32_t* acc = nullptr;
  const float* scales = nullptr;  // padded to the panel's width
  float* sums = nullptr;
  size_t rows = 0;
  size_t width = 0;
  bool first = false;
};

// y = act(weight_scale * (row_scale * acc) + outliers + bias) + residual,
// rounded once more where y is not FP32: to 16 bits half to even, or to codes
// of a scale and zero point of y's own. A NaN becomes the zero point's code.
struct FinishTile {
  const int32_t* acc = nullptr;  // kMaxTileColumns apart
  bool acc_is_float = false;     // FP32 bits: what int32 cannot hold, groups
  const float* row_scales = nullptr;
  const float* weight_scales = nullptr;  // padded to the panel's width
  const float* bias = nullptr;           // padded likewise
  const float* outliers = nullptr;       // like acc, or nullptr
  const float* residual = nullptr;       // or nullptr
  size_t residual_stride = 0;
  void* y = nullptr;    // elements of y_type
  size_t y_stride = 0;  // elements
  ElementType y_type = ElementType::kFp32;
  CodeRule y_codes;  // kCode only
  size_t rows = 0;
  size_t columns = 0;  // really there; the panel may be wider
  Activation activation = Activation::kNone;
};

struct TileOps {
  void (*load_row)(const RowInput& row, size_t k, float* out);
  void (*hadamard)(float* x, size_t k, size_t block);  // hadamard.h
  RowMaxima (*row_maxima)(const float* x, size_t k, const RowFilter& filter);
  void (*row_codes)(const float* x, size_t k, const RowFilter& filter,
                    const CodeRule& rule, uint8_t* codes);
  // Without a filter: codes of x, maxima of `next`.
  RowMaxima (*codes_and_maxima)(const float* x, size_t k, const CodeRule& rule,
                                uint8_t* codes, const float* next);
  void (*fixed_outliers)(const FixedOutliers& tile);
  void (*live_outliers)(const LiveOutliers& row);
  void (*add_group)(const GroupTile& tile);
  void (*finish)(const FinishTile& tile);
  void (*activate)(Activation activation, float* x, size_t count);
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_TILE_OPS_H_
