// How a linear call is cut into tasks that never wait for each other.
//
//   task   a block of rows x a range of panels: quantizes its rows into its
//          thread's scratch, then multiplies them panel by panel
//   slice  a part of K: its weights of one panel stay in L1 while every row
//          tile of the block passes over them
//
// Each task quantizes its own rows, so that no barrier stands between quantize
// and multiply: ranges of panels repeat that work, blocks of rows do not, but
// they read the weights again. K is never cut between tasks.

#ifndef OCTET_KERNELS_LINEAR_PARTITION_H_
#define OCTET_KERNELS_LINEAR_PARTITION_H_

#include <cstddef>

#include "kernels/registry.h"

namespace octet::kernels {

struct LinearShape {
  size_t rows;
  size_t n;
  size_t k;
  bool grouped = false;  // a scale per group of K
  size_t unit = 0;       // columns that no cut divides; 0: a panel's
};

struct Range {
  size_t begin;
  size_t end;

  size_t size() const { return end - begin; }
};

// [0, count) in nearly equal parts, the larger ones first.
class EvenParts {
 public:
  EvenParts(size_t count, size_t parts)
      : size_(count / parts), larger_(count % parts) {}

  Range operator[](size_t index) const {
    return {Begin(index), Begin(index + 1)};
  }

 private:
  size_t Begin(size_t index) const {
    return index * size_ + (index < larger_ ? index : larger_);
  }

  size_t size_;
  size_t larger_;
};

struct Partition {
  size_t row_blocks = 1;
  size_t panel_blocks = 1;
  size_t slice_groups = 1;  // of kr codes each
  bool parallel = false;    // several tasks alone are no reason for threads

  size_t tasks() const { return row_blocks * panel_blocks; }
};

// `threads` may be more than are useful. At least one row. Several tiles share
// slices of about `slice_bytes` of weights.
Partition Divide(const LinearShape& shape, const Kernel& kernel, size_t threads,
                 size_t slice_bytes);

// Bytes between rows of codes: whole cache lines, and never a multiple of 4096,
// where rows would share L1 sets.
size_t CodeStride(size_t padded_k);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_LINEAR_PARTITION_H_
