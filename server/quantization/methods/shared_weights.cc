#include "server/quantization/methods/shared_weights.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/quantization/methods/float_blocks.h"

namespace octet::quantization {

using kernels::MatrixView;

SharedWeights::SharedWeights(absl::Span<const MatrixView<const float>> weights)
    : rows_(weights.begin(), weights.end()) {
  for (const MatrixView<const float>& weight : weights) CountColumns(weight);
}

absl::StatusOr<SharedWeights> SharedWeights::Load(
    const InputGroup& linears, const model::TensorSource& checkpoint,
    kernels::ThreadPool* pool, size_t max_rows) {
  SharedWeights weights;
  for (const model::Linear* linear : linears) {
    RETURN_IF_ERROR(weights.LoadOne(*linear, checkpoint, pool, max_rows));
  }
  return weights;
}

absl::Status SharedWeights::LoadOne(const model::Linear& linear,
                                    const model::TensorSource& checkpoint,
                                    kernels::ThreadPool* pool,
                                    size_t max_rows) {
  const size_t columns = linear.in_features;
  const size_t all = linear.out_features;
  const size_t block = BlockElements(columns);
  const size_t wanted =
      std::min(all, max_rows == 0 ? block / columns : max_rows);
  std::vector<float> kept;
  kept.reserve(wanted * columns);
  const auto keep = [&](size_t first, absl::Span<const float> values) {
    const MatrixView<const float> rows(values.data(), values.size() / columns,
                                       columns);
    CountColumns(rows);
    for (size_t i = 0; i < rows.rows; ++i) {
      const size_t n = first / columns + i;
      const bool is_drawn = (n + 1) * wanted / all > n * wanted / all;
      if (is_drawn) kept.insert(kept.end(), rows.row(i), rows.row(i) + columns);
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(ForEachBlock(checkpoint,
                               model::StrCat(linear.layer, ".weight"),
                               /*row_divisors=*/{}, block, pool, keep));
  kept_.push_back(std::move(kept));
  rows_.emplace_back(kept_.back().data(), wanted, columns);
  return absl::OkStatus();
}

void SharedWeights::CountColumns(MatrixView<const float> weight) {
  column_absmax_.resize(weight.cols, 0.0F);
  for (size_t n = 0; n < weight.rows; ++n) {
    const float* const row = weight.row(n);
    for (size_t k = 0; k < weight.cols; ++k) {
      column_absmax_[k] = std::max(column_absmax_[k], std::fabs(row[k]));
    }
  }
}

}  // namespace octet::quantization
