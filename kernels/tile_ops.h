// The float work around the dot products, one table of functions per
// instruction set. All of them run the same templates (tile_ops_body.h) and
// are bit-equal: every product and sum is rounded on its own, except the fused
// multiply-adds that the templates ask for by name.

#ifndef OCTET_KERNELS_TILE_OPS_H_
#define OCTET_KERNELS_TILE_OPS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/activation.h"
#include "kernels/microkernel.h"

namespace octet::kernels {

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

// byte = clamp(round_half_even(x * inverse), low, high) + zero_byte; filtered
// values count as 0.
struct CodeRule {
  float inverse = 1.0F;
  int32_t zero_byte = 128;
  float low = -127.0F;
  float high = 127.0F;
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
// of one row.
struct LiveOutliers {
  const float* x = nullptr;
  const uint32_t* columns = nullptr;
  size_t count = 0;
  const int8_t* panel = nullptr;  // the packed panel the dot product reads
  size_t kr = 4;                  // as the kernel packs it
  const float* scales = nullptr;
  float* out = nullptr;
  size_t width = 0;
};

// y = act(weight_scale * (row_scale * acc) + outliers + bias) + residual.
struct FinishTile {
  const int32_t* acc = nullptr;  // kMaxTileColumns apart
  bool acc_is_float = false;     // sums too large for int32 come as FP32 bits
  const float* row_scales = nullptr;
  const float* weight_scales = nullptr;  // padded to the panel's width
  const float* bias = nullptr;           // padded likewise
  const float* outliers = nullptr;       // like acc, or nullptr
  const float* residual = nullptr;       // or nullptr
  size_t residual_stride = 0;
  float* y = nullptr;
  size_t y_stride = 0;
  size_t rows = 0;
  size_t columns = 0;  // really there; the panel may be wider
  Activation activation = Activation::kNone;
};

struct TileOps {
  RowMaxima (*row_maxima)(const float* x, size_t k, const RowFilter& filter);
  void (*row_codes)(const float* x, size_t k, const RowFilter& filter,
                    const CodeRule& rule, uint8_t* codes);
  void (*fixed_outliers)(const FixedOutliers& tile);
  void (*live_outliers)(const LiveOutliers& row);
  void (*finish)(const FinishTile& tile);
  void (*activate)(Activation activation, float* x, size_t count);
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_TILE_OPS_H_
