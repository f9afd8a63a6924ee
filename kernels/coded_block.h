// The rows of a task as codes, with what the tiles need to know of each: its
// scale, and the values that are not among the codes. One per thread; it grows
// to the largest block it has held and stays.

#ifndef OCTET_KERNELS_CODED_BLOCK_H_
#define OCTET_KERNELS_CODED_BLOCK_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/aligned_buffer.h"
#include "kernels/int8_layer.h"
#include "kernels/linear_io.h"
#include "kernels/linear_partition.h"
#include "kernels/safe_pairs.h"

namespace octet::kernels {

class CodedBlock {
 public:
  // Values of one row that are multiplied in float, by rising k.
  struct Live {
    const uint32_t* columns;
    const float* values;
    size_t count;
  };

  // Quantizes x, or copies what is quantized already.
  void Fill(const Int8Layer& layer, const LinearInput& x);

  const uint8_t* row(size_t i) const {
    return codes_.As<uint8_t>() + i * stride_;
  }
  // The code of x[row, k]; code_bytes of the kernel.
  const uint8_t* at(size_t row, size_t k) const {
    return this->row(row) + k * code_bytes_;
  }
  size_t stride() const { return stride_; }
  const float* scales(size_t row) const { return scales_.data() + row; }
  // [rows, outlier columns], from `row` on.
  const float* outliers(size_t row) const {
    return outliers_.data() + row * columns_;
  }
  Live live(size_t row) const {
    const size_t begin = live_begin_[row];
    return {live_columns_.data() + begin, live_values_.data() + begin,
            live_begin_[row + 1] - begin};
  }
  bool has_live(size_t row, size_t rows) const {
    return live_begin_[row] != live_begin_[row + rows];
  }

  // For kernels with split_row:

  const int32_t* seeds(size_t row) const { return seeds_.data() + row; }
  // Lays the excess of rows out as their tiles take it.
  void ArrangeExcess(const EvenParts& tile_rows, size_t tiles);
  // Of a tile, [steps][rows].
  const Excess* excess(size_t tile) const {
    return tile_excess_.data() + tiles_[tile].begin;
  }
  size_t excess_steps(size_t tile) const { return tiles_[tile].steps; }

 private:
  struct TileExcess {
    size_t begin;
    size_t steps;
  };

  void Reserve(const Int8Layer& layer, const LinearInput& x);
  void Quantize(const Int8Layer& layer, const LinearInput& x);
  // Where the coding is plain() and x FP32.
  void QuantizePerToken(const Int8Layer& layer, const LinearInput& x);
  void QuantizeStatic(const Int8Layer& layer, const LinearInput& x);
  void Copy(const Int8Layer& layer, const LinearInput& x);
  void ListLive(const Int8Layer& layer, const float* values);
  // Bytes to codes in safe pairs, their excess and the seed of the row.
  void Split(size_t i, size_t padded_k);
  // Where the bytes of row i are written, which Keep puts where they belong.
  uint8_t* Bytes(size_t i);
  void Keep(size_t i, size_t padded_k);

  AlignedBuffer codes_;
  AlignedBuffer bytes_;   // a row, for where the kernel wants others
  AlignedBuffer values_;  // two rows, for where x itself is not coded
  SplitRowFunction split_row_ = nullptr;  // of the kernel
  int32_t zero_point_ = 0;
  size_t code_bytes_ = 1;
  size_t stride_ = 0;
  size_t columns_ = 0;  // outlier columns
  std::vector<float> scales_;
  std::vector<float> outliers_;
  std::vector<size_t> live_begin_;  // [rows + 1], into the next two
  std::vector<uint32_t> live_columns_;
  std::vector<float> live_values_;
  std::vector<int32_t> seeds_;
  std::vector<Excess> row_excess_;  // of the row that is split
  std::vector<Excess> excess_;
  std::vector<size_t> excess_begin_;  // [rows + 1]
  std::vector<Excess> tile_excess_;
  std::vector<TileExcess> tiles_;  // where theirs is in tile_excess_
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_CODED_BLOCK_H_
