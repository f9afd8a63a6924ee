// Row-major INT8 weights [N, K] to the layout a microkernel reads, once, at
// load.
//
//   panel p       columns n = p nr ... of W^T, `width` of them: nr, but the
//                 last one only as many as there are, in steps of nr_step
//   inside        [ceil(K / kr)][width][kr], zeros where K or N end; with the
//                 kernel's weight_offset added
//   seed[n]       (code_offset - zero_point) * sum_k W[n, k]
//
// A product of more than max_exact_k() terms could leave the int32 accumulator:
// then the caller splits K and adds the parts in 64 bits, seed included.

#ifndef OCTET_KERNELS_PACKED_WEIGHTS_H_
#define OCTET_KERNELS_PACKED_WEIGHTS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/matrix_view.h"
#include "kernels/registry.h"

namespace octet::kernels {

// Terms that an int32 holds for u8 codes and weights of magnitude <= 127, or
// 128 where a weight is -128: (2^31 - 1) / (255 * 127) and / (255 * 128).
inline constexpr size_t kMaxExactK = 66311;
inline constexpr size_t kMaxExactKWithMinimum = 65793;

struct Panel {
  const int8_t* codes;
  size_t begin;    // first column
  size_t columns;  // really there
  size_t width;    // packed
};

class PackedWeights {
 public:
  PackedWeights() = default;
  // N, K >= 1; K < 2^24, so that column sums fit an int32.
  PackedWeights(const Kernel& kernel, MatrixView<const int8_t> codes);

  Panel panel(size_t index) const;
  size_t panels() const { return (n_ + nr_ - 1) / nr_; }
  size_t n() const { return n_; }
  size_t k() const { return k_; }
  size_t groups() const { return groups_; }
  size_t padded_n() const { return padded_n_; }
  size_t max_exact_k() const { return max_exact_k_; }
  const std::vector<int32_t>& column_sums() const { return column_sums_; }
  // For callers that keep seeds instead.
  void DropColumnSums() { column_sums_ = {}; }
  size_t bytes() const;

 private:
  void PackPanel(const Panel& panel, MatrixView<const int8_t> codes);

  size_t n_ = 0;
  size_t k_ = 0;
  size_t nr_ = 1;
  size_t kr_ = 1;
  int32_t offset_ = 0;  // of the kernel, added to each
  size_t groups_ = 0;
  size_t padded_n_ = 0;
  size_t max_exact_k_ = kMaxExactK;
  AlignedBuffer codes_;
  std::vector<int32_t> column_sums_;  // [padded N]
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_PACKED_WEIGHTS_H_
