#include "server/model/hidden_output.h"

#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "kernels/float_pooling.h"
#include "kernels/matrix_view.h"
#include "server/model/operators.h"

namespace octet::model {
namespace {

using kernels::MatrixView;

MatrixView<const float> ViewOf(const ModelOutput& value) {
  return {value.values.data(), value.rows, value.cols};
}

ModelOutput Rows(size_t rows, size_t cols) {
  ModelOutput value;
  value.rows = rows;
  value.cols = cols;
  value.values.resize(rows * cols);
  return value;
}

}  // namespace

bool HasHiddenOutput(const Graph& graph) {
  return graph.hidden && graph.output && *graph.hidden != *graph.output;
}

absl::StatusOr<ModelOutput> OutputOfHidden(const Graph& graph,
                                           const ModelOutput& hidden,
                                           absl::Span<const int32_t> lengths) {
  ValueId at = *graph.hidden;
  const ModelOutput* value = &hidden;
  ModelOutput kept;
  for (const Operator& op : graph.operators) {
    ModelOutput next;
    if (const auto* pooling = std::get_if<Pooling>(&op);
        pooling != nullptr && pooling->input == at) {
      next = Rows(lengths.size(), value->cols);
      PoolSequences(pooling->mode, ViewOf(*value), lengths,
                    {next.values.data(), next.rows, next.cols});
      at = pooling->output;
    } else if (const auto* normalize = std::get_if<Normalize>(&op);
               normalize != nullptr && normalize->input == at) {
      next = Rows(value->rows, value->cols);
      kernels::NormalizeL2(ViewOf(*value),
                           {next.values.data(), next.rows, next.cols});
      at = normalize->output;
    } else {
      continue;
    }
    kept = std::move(next);
    value = &kept;
  }
  if (at == *graph.output && value == &kept) return kept;
  return absl::InternalError(
      "the output is more than pooled hidden states, and cannot be had with "
      "them");
}

}  // namespace octet::model
