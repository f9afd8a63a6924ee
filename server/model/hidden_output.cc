#include "server/model/hidden_output.h"

#include <utility>
#include <variant>

#include "absl/status/status.h"
#include "kernels/float_pooling.h"
#include "server/model/operators.h"

namespace octet::model {

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
      next = ModelOutput::Uninitialized(lengths.size(), value->cols);
      PoolSequences(pooling->mode, value->view(), lengths, next.view());
      at = pooling->output;
    } else if (const auto* normalize = std::get_if<Normalize>(&op);
               normalize != nullptr && normalize->input == at) {
      next = ModelOutput::Uninitialized(value->rows, value->cols);
      kernels::NormalizeL2(value->view(), next.view());
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
