#include "server/model/operators.h"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/float_pooling.h"
#include "kernels/status_macros.h"
#include "server/model/layer_norm_names.h"
#include "server/model/layer_tensors.h"

namespace octet::model {
namespace {

absl::StatusOr<std::vector<float>> LoadTable(const TensorSource& tensors,
                                             std::string_view name, size_t rows,
                                             size_t width) {
  const std::array<int64_t, 2> shape = {static_cast<int64_t>(rows),
                                        static_cast<int64_t>(width)};
  return FindFiniteFloat(tensors, name, shape);
}

// The only row in use, of however many types the table has.
absl::StatusOr<std::vector<float>> LoadFirstRow(const TensorSource& tensors,
                                                std::string_view name,
                                                size_t width) {
  ASSIGN_OR_RETURN(const TensorView table, tensors.Find(name));
  const size_t rows =
      table.shape.empty() ? 0 : static_cast<size_t>(table.shape[0]);
  ASSIGN_OR_RETURN(std::vector<float> values,
                   LoadTable(tensors, name, rows, width));
  values.resize(width);
  return values;
}

}  // namespace

absl::Status Parameters::Load(const Embedding& op, size_t width,
                              const Graph& graph, const TensorSource& tensors) {
  ASSIGN_OR_RETURN(tables_[op.token_table],
                   LoadTable(tensors, op.token_table, graph.vocabulary, width));
  if (!op.position_table.empty()) {
    ASSIGN_OR_RETURN(
        tables_[op.position_table],
        LoadTable(tensors, op.position_table, graph.max_positions, width));
  }
  if (!op.type_table.empty()) {
    ASSIGN_OR_RETURN(tables_[op.type_table],
                     LoadFirstRow(tensors, op.type_table, width));
  }
  return absl::OkStatus();
}

absl::Status Parameters::Load(const LayerNorm& op, size_t width,
                              const TensorSource& tensors) {
  const std::array<int64_t, 1> shape = {static_cast<int64_t>(width)};
  const LayerNormNames names = FindLayerNormNames(tensors, op.layer);
  LayerNormParameters& norm = norms_[op.layer];
  ASSIGN_OR_RETURN(norm.weight, FindFiniteFloat(tensors, names.weight, shape));
  ASSIGN_OR_RETURN(norm.bias, FindFiniteFloat(tensors, names.bias, shape));
  return absl::OkStatus();
}

absl::Span<const float> Parameters::table(std::string_view name) const {
  const auto found = tables_.find(name);
  if (found == tables_.end()) return {};
  return found->second;
}

const LayerNormParameters& Parameters::norm(std::string_view layer) const {
  return norms_.find(layer)->second;
}

size_t Parameters::bytes() const {
  size_t floats = 0;
  for (const auto& [name, table] : tables_) floats += table.size();
  for (const auto& [name, norm] : norms_) {
    floats += norm.weight.size() + norm.bias.size();
  }
  return floats * sizeof(float);
}

namespace {

// Rows of a large table lie where no prefetcher of the CPU looks.
void PrefetchRow(const float* row, size_t count) {
  constexpr size_t kLineFloats = 16;
  for (size_t n = 0; n < count; n += kLineFloats) __builtin_prefetch(row + n);
}

}  // namespace

void Embed(const Embedding& op, const Parameters& parameters,
           absl::Span<const int32_t> token_ids,
           absl::Span<const int32_t> lengths, kernels::MatrixView<float> out) {
  constexpr size_t kRowsAhead = 4;
  const absl::Span<const float> tokens = parameters.table(op.token_table);
  const absl::Span<const float> positions = parameters.table(op.position_table);
  const absl::Span<const float> types = parameters.table(op.type_table);
  const auto token = [&](size_t t) {
    return tokens.data() + static_cast<size_t>(token_ids[t]) * out.cols;
  };
  size_t t = 0;
  for (const int32_t length : lengths) {
    for (size_t position = 0; position < static_cast<size_t>(length);
         ++position, ++t) {
      if (t + kRowsAhead < token_ids.size()) {
        PrefetchRow(token(t + kRowsAhead), out.cols);
      }
      float* row = out.row(t);
      std::copy_n(token(t), out.cols, row);
      // Type before position: the order of additions in the reference.
      for (size_t n = 0; n < types.size(); ++n) row[n] += types[n];
      if (positions.empty()) continue;
      const float* place = positions.data() + position * out.cols;
      for (size_t n = 0; n < out.cols; ++n) row[n] += place[n];
    }
  }
}

void PoolSequences(PoolingMode mode, kernels::MatrixView<const float> x,
                   absl::Span<const int32_t> lengths,
                   kernels::MatrixView<float> y) {
  switch (mode) {
    case PoolingMode::kMean:
      return kernels::Pool(kernels::PoolingKind::kMean, x, lengths, y);
    case PoolingMode::kCls:
      return kernels::Pool(kernels::PoolingKind::kFirst, x, lengths, y);
    case PoolingMode::kMax:
      return kernels::Pool(kernels::PoolingKind::kMax, x, lengths, y);
    case PoolingMode::kNone:
      for (size_t m = 0; m < x.rows; ++m) {
        std::copy_n(x.row(m), x.cols, y.row(m));
      }
  }
}

}  // namespace octet::model
