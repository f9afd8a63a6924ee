// Independent named matrices, for MatMul: every 2-D "X.weight" is a linear X.

#include "absl/status/status.h"
#include "kernels/status_macros.h"
#include "server/model/import_support.h"

namespace octet::model {
namespace {

// Integer matrices other than I8 (index tables, say) are no linears.
bool IsLinearWeight(const TensorView& tensor) {
  switch (tensor.type) {
    case DataType::kF64:  // refused with a message rather than passed over
    case DataType::kF32:
    case DataType::kF16:
    case DataType::kBF16:
    case DataType::kI8:
      return tensor.shape.size() == 2;
    default:
      return false;
  }
}

}  // namespace

absl::StatusOr<Graph> ImportLinearSet(const ConfigFiles& /*configs*/,
                                      const TensorSource& tensors) {
  Graph graph;
  graph.family = "linear_set";
  graph.input = InputKind::kNone;
  for (const std::string& name : tensors.Names()) {
    static constexpr std::string_view kSuffix = ".weight";
    if (!name.ends_with(kSuffix) || name.size() == kSuffix.size()) continue;
    ASSIGN_OR_RETURN(const TensorView tensor, tensors.Find(name));
    if (!IsLinearWeight(tensor)) continue;
    ASSIGN_OR_RETURN(
        Linear linear,
        InferLinear(tensors, name.substr(0, name.size() - kSuffix.size())));
    graph.operators.emplace_back(std::move(linear));
  }
  if (graph.operators.empty()) {
    return absl::InvalidArgumentError(
        "the checkpoint has no linear: no 2-D tensor is called 'X.weight'");
  }
  return graph;
}

}  // namespace octet::model
