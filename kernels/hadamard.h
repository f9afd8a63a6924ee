// Block Hadamard rotation of a row, in place.
//
//   x <- x (I (x) H_b / sqrt(b)),   H_1 = [1],  H_2b = [H_b  H_b; H_b -H_b]
//
// for consecutive blocks of b values. It is orthonormal and its own inverse,
// so that with rotated rows of x and of W, x W^T stays what it was while large
// values are spread over their block. Where b does not divide K, the rest is
// rotated in the largest power of two that fits, and so on: K = 1000 with
// b = 256 is 3 x 256, 128, 64, 32, 8.
//
// Bit-equal on every instruction set. Order: each value times 1 / sqrt(b) in
// FP32, then for d = 1, 2, 4, ... b / 2 the pairs (i, i + d) of a block become
// their sum and difference, each rounded once.

#ifndef OCTET_KERNELS_HADAMARD_H_
#define OCTET_KERNELS_HADAMARD_H_

#include <cstddef>

#include "kernels/matrix_view.h"

namespace octet::kernels {

inline constexpr size_t kMaxHadamardBlock = 1024;

// A power of two from 2 to kMaxHadamardBlock.
bool IsHadamardBlock(size_t block);

// Every row of `inout`, on the best instruction set of this CPU. `block` is a
// Hadamard block.
void RotateRows(MatrixView<float> inout, size_t block);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_HADAMARD_H_
