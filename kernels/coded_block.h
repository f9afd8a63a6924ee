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

 private:
  void Reserve(const Int8Layer& layer, const LinearInput& x);
  void Quantize(const Int8Layer& layer, const LinearInput& x);
  // Where the coding is plain() and x FP32.
  void QuantizePerToken(const Int8Layer& layer, const LinearInput& x);
  void QuantizeStatic(const Int8Layer& layer, const LinearInput& x);
  void Copy(const Int8Layer& layer, const LinearInput& x);
  void ListLive(const Int8Layer& layer, const float* values);
  // Where the bytes of row i are written, which Keep puts where they belong.
  uint8_t* Bytes(size_t i);
  void Keep(size_t i, size_t padded_k);

  AlignedBuffer codes_;
  AlignedBuffer bytes_;   // a row, for where codes are wider
  AlignedBuffer values_;  // two rows, for where x itself is not coded
  size_t code_bytes_ = 1;
  size_t stride_ = 0;
  size_t columns_ = 0;  // outlier columns
  std::vector<float> scales_;
  std::vector<float> outliers_;
  std::vector<size_t> live_begin_;  // [rows + 1], into the next two
  std::vector<uint32_t> live_columns_;
  std::vector<float> live_values_;
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_CODED_BLOCK_H_
