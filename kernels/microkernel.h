// The contract of an int8 dot-product microkernel.
//
//   acc[r, c] = seed[c] + sum_k a[r, k] * b[k, c]       (mod 2^32)
//
// for `rows` <= mr rows of u8 codes and one panel of `width` <= nr columns of
// s8 weights. Seeded with -zero_point * sum_k b[k, c], the sum is the product
// of the zero-point-free codes, with no fix-up in the loop. Sums wrap, so the
// result is exact whenever the final value fits an int32, whatever happened on
// the way: up to K = 66,311 with weights in [-127, 127], and up to K = 65,793
// with -128 among them (see packed_weights.h, which splits what is larger).
//
// Layouts, the same for every kernel (only the panel width differs):
//   a    row-major, `a_stride` bytes apart, padded to whole groups of 4 codes
//   b    [groups][width][4]: four consecutive k of one column are one int32
//   acc  row-major, kMaxTileColumns apart
//
// Kernels allocate nothing, throw nothing, and check nothing.

#ifndef OCTET_KERNELS_MICROKERNEL_H_
#define OCTET_KERNELS_MICROKERNEL_H_

#include <cstddef>
#include <cstdint>

namespace octet::kernels {

inline constexpr size_t kMaxTileRows = 6;
inline constexpr size_t kMaxTileColumns = 64;
inline constexpr size_t kGroup = 4;  // codes of k that one int32 lane holds

struct DotTile {
  const uint8_t* a = nullptr;
  size_t a_stride = 0;
  const int8_t* b = nullptr;
  size_t groups = 0;  // of k, kGroup each
  const int32_t* seed = nullptr;
  int32_t* acc = nullptr;
  size_t rows = 0;   // 1 to mr
  size_t width = 0;  // a multiple of nr_step, up to nr
};

using DotFunction = void (*)(const DotTile& tile);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_MICROKERNEL_H_
