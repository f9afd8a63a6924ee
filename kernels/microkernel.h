// The contract of an int8 dot-product microkernel.
//
//   acc[r, c] = seed[r, c] + sum_k a[r, k] * b[k, c]       (mod 2^32)
//
// for `rows` <= mr rows of codes and one panel of `width` <= nr columns of s8
// weights. Codes are bytes less the kernel's code_offset: u8 where the
// instruction multiplies u8 x s8 (offset 0), s8 where it multiplies s8 x s8
// (offset 128). Seeded with (code_offset - zero_point) * sum_k b[k, c], the sum
// is the product of the zero-point-free codes, with no fix-up in the loop.
// Seeded with an earlier result, it goes on where that one stopped: K may be
// walked in slices. Sums wrap, so the result is exact whenever the final value
// fits an int32, whatever happened on the way: up to K = 66,311 with weights in
// [-127, 127], and up to K = 65,793 with -128 among them (see packed_weights.h,
// which splits what is larger).
//
// Kernels with Kernel::split_row take codes and weights as safe_pairs.h has
// them, the excess of codes, and a seed of each row.
//
// Layouts; a group is kr consecutive k:
//   a    row-major, `a_stride` bytes apart, padded to whole groups; int16 where
//        the kernel's code_bytes is 2
//   b    [groups][width][kr]
//   acc  row-major, kMaxTileColumns apart
//
// Kernels allocate nothing, throw nothing, and check nothing.

#ifndef OCTET_KERNELS_MICROKERNEL_H_
#define OCTET_KERNELS_MICROKERNEL_H_

#include <cstddef>
#include <cstdint>

#include "kernels/safe_pairs.h"

namespace octet::kernels {

inline constexpr size_t kMaxTileRows = 8;
inline constexpr size_t kMaxTileColumns = 64;

// Where to: into L1, into L2, or early into L2 and late into L1.
enum class Into : uint8_t { kL1, kL2, kL2ThenL1 };

// Weights that will be read soon. A kernel may ask the caches, at group g, for
// the lines at from + g * step + i * spread, i = 0, 1 ...
struct Prefetch {
  const int8_t* from = nullptr;
  size_t step = 0;
  size_t spread = 0;
  Into into = Into::kL1;
};

// What becomes of the sums where there is no activation:
//   y[r, c] = weight_scales[c] * (row_scales[r] * acc[r, c]) [+ outliers[r, c]]
//             + bias[c] [+ residual[r, c]]
// each product and sum rounded to FP32. Straight from the registers, which
// spares the way through `acc` and the epilogue of tile_ops.h.
struct ScaledOutput {
  const float* row_scales = nullptr;
  const float* weight_scales = nullptr;  // [width]
  const float* bias = nullptr;           // [width]
  // kMaxTileColumns apart, for Kernel::scales_outliers; or nullptr
  const float* outliers = nullptr;
  const float* residual = nullptr;  // or nullptr
  size_t residual_stride = 0;
  float* y = nullptr;
  size_t y_stride = 0;
  size_t columns = 0;   // written; up to width
  bool is_far = false;  // y: not in L2, so better asked for before
};

struct DotTile {
  const uint8_t* a = nullptr;
  size_t a_stride = 0;
  const int8_t* b = nullptr;
  size_t groups = 0;
  const int32_t* seed = nullptr;
  size_t seed_stride = 0;                // 0: one row of seeds for all rows
  int32_t* acc = nullptr;                // may be the seeds; always there
  const ScaledOutput* scaled = nullptr;  // instead of acc: Kernel::scales only
  size_t rows = 0;                       // 1 to mr
  size_t width = 0;                      // a multiple of nr_step, up to nr
  Prefetch prefetch = {};
  // For kernels with Kernel::split_row:
  const int32_t* row_seeds = nullptr;  // [rows], of all columns, or nullptr
  const int8_t* panel = nullptr;       // the weights of group 0 of the excess
  const Excess* excess = nullptr;      // [excess_steps][rows]
  size_t excess_steps = 0;
};

using DotFunction = void (*)(const DotTile& tile);

// Where `scale_groups` groups of k in a row share a scale per column:
//
//   sums[r, c] = fma(scales[s, c], float(acc[s, r, c]), sums[r, c])
//
// by rising s, with acc[s] as above, of the groups that share scale s, from the
// seeds of s; the first scale of all starts at 0. The last may have fewer
// groups.
struct GroupedTile {
  const uint8_t* a = nullptr;
  size_t a_stride = 0;
  const int8_t* b = nullptr;
  size_t groups = 0;
  size_t scale_groups = 0;
  const int32_t* seeds = nullptr;
  const float* scales = nullptr;
  size_t scale_stride = 0;  // from one scale's seeds and scales to the next
  float* sums = nullptr;    // kMaxTileColumns apart
  bool first = false;
  size_t rows = 0;
  size_t width = 0;
  Prefetch prefetch = {};
};

using GroupedDotFunction = void (*)(const GroupedTile& tile);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_MICROKERNEL_H_
