#include "kernels/packed_weights.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "kernels/matrix_view.h"
#include "kernels/microkernel.h"
#include "kernels/registry.h"

namespace octet::kernels {
namespace {

size_t RoundUp(size_t value, size_t step) {
  return (value + step - 1) / step * step;
}

}  // namespace

PackedWeights::PackedWeights(const Kernel& kernel,
                             MatrixView<const int8_t> codes)
    : n_(codes.rows),
      k_(codes.cols),
      nr_(kernel.nr),
      kr_(kernel.kr),
      offset_(kernel.weight_offset()),
      groups_(RoundUp(k_, kr_) / kr_),
      padded_n_(RoundUp(n_, kernel.nr_step)),
      codes_(padded_n_ * groups_ * kr_),
      column_sums_(padded_n_, 0) {
  for (size_t i = 0; i < panels(); ++i) PackPanel(panel(i), codes);
}

Panel PackedWeights::panel(size_t index) const {
  const size_t begin = index * nr_;
  return {.codes = codes_.As<int8_t>() + begin * groups_ * kr_,
          .begin = begin,
          .columns = std::min(nr_, n_ - begin),
          .width = std::min(nr_, padded_n_ - begin)};
}

void PackedWeights::PackPanel(const Panel& panel,
                              MatrixView<const int8_t> codes) {
  int8_t* packed = codes_.As<int8_t>() + (panel.codes - codes_.As<int8_t>());
  for (size_t c = 0; c < panel.columns; ++c) {
    const int8_t* row = codes.row(panel.begin + c);
    int8_t* group = packed + c * kr_;
    int32_t sum = 0;
    int8_t minimum = 0;
    for (size_t k = 0; k < k_; k += kr_, group += panel.width * kr_) {
      const size_t count = std::min(kr_, k_ - k);
      for (size_t i = 0; i < count; ++i) {
        const int8_t code = row[k + i];
        group[i] = static_cast<int8_t>(code + offset_);
        sum += code;
        minimum = std::min(minimum, code);
      }
    }
    column_sums_[panel.begin + c] = sum;
    if (minimum == std::numeric_limits<int8_t>::min()) {
      max_exact_k_ = kMaxExactKWithMinimum;
    }
  }
}

size_t PackedWeights::bytes() const {
  return codes_.size() + column_sums_.size() * sizeof(int32_t);
}

}  // namespace octet::kernels
