#include "server/model/fold_smoothing.h"

#include <algorithm>
#include <cstdint>
#include <variant>

#include "kernels/activation.h"
#include "kernels/status_macros.h"
#include "server/model/layer_norm_names.h"
#include "server/model/str_cat.h"
#include "server/model/values.h"

namespace octet::model {
namespace {

const Operator* WriterOf(const Graph& graph, ValueId value) {
  const auto writer =
      std::find_if(graph.operators.begin(), graph.operators.end(),
                   [&](const Operator& op) { return OutputOf(op) == value; });
  return writer == graph.operators.end() ? nullptr : &*writer;
}

bool LeavesTheGraph(const Graph& graph, ValueId value) {
  return graph.hidden == value || graph.output == value;
}

// The linears that read a value; empty where anything else does, too.
std::vector<const Linear*> OnlyLinearsThatRead(const Graph& graph,
                                               ValueId value) {
  std::vector<const Linear*> readers;
  for (const Operator& op : graph.operators) {
    const std::vector<ValueId> inputs = InputsOf(op);
    if (std::find(inputs.begin(), inputs.end(), value) == inputs.end()) {
      continue;
    }
    const auto* linear = std::get_if<Linear>(&op);
    if (linear == nullptr || linear->residual == value) return {};
    readers.push_back(linear);
  }
  return readers;
}

bool ScalesWithItsRows(const Linear& linear) {
  return !linear.residual && linear.parts.empty() &&
         (linear.activation == kernels::Activation::kNone ||
          linear.activation == kernels::Activation::kRelu);
}

std::optional<std::string> TargetBehindAttention(const Graph& graph,
                                                 const Attention& attention) {
  const Operator* writer = WriterOf(graph, attention.value);
  if (writer == nullptr || LeavesTheGraph(graph, attention.value)) {
    return std::nullopt;
  }
  size_t uses = 0;
  for (const Operator& op : graph.operators) {
    const std::vector<ValueId> inputs = InputsOf(op);
    uses += static_cast<size_t>(
        std::count(inputs.begin(), inputs.end(), attention.value));
  }
  const auto* linear = std::get_if<Linear>(writer);
  const bool same_columns =
      graph.widths[attention.value] == graph.widths[attention.output];
  if (uses != 1 || linear == nullptr || !ScalesWithItsRows(*linear) ||
      !same_columns) {
    return std::nullopt;
  }
  return linear->layer;
}

}  // namespace

std::optional<std::string> FoldTarget(const Graph& graph, ValueId value) {
  // The linears of a linear_set have nothing to do with each other.
  if (graph.input == InputKind::kNone || LeavesTheGraph(graph, value) ||
      OnlyLinearsThatRead(graph, value).empty()) {
    return std::nullopt;
  }
  const Operator* writer = WriterOf(graph, value);
  if (writer == nullptr) return std::nullopt;
  if (const auto* norm = std::get_if<LayerNorm>(writer)) return norm->layer;
  if (const auto* attention = std::get_if<Attention>(writer)) {
    return TargetBehindAttention(graph, *attention);
  }
  const auto* linear = std::get_if<Linear>(writer);
  if (linear == nullptr || !ScalesWithItsRows(*linear)) return std::nullopt;
  return linear->layer;
}

SmoothingFolds FoldSmoothing(const Graph& graph,
                             const LayerFactors& smoothing) {
  SmoothingFolds folds;
  for (const Linear* linear : graph.Linears()) {
    const auto factors = smoothing.find(linear->layer);
    if (factors == smoothing.end()) continue;
    const std::optional<std::string> target = FoldTarget(graph, linear->input);
    if (!target) continue;
    const std::vector<const Linear*> readers =
        OnlyLinearsThatRead(graph, linear->input);
    const bool share =
        std::all_of(readers.begin(), readers.end(), [&](const Linear* reader) {
          const auto other = smoothing.find(reader->layer);
          return other != smoothing.end() && other->second == factors->second;
        });
    if (!share) continue;
    folds.divided[*target] = factors->second;
    folds.multiplied[linear->layer] = factors->second;
  }
  return folds;
}

absl::StatusOr<FoldedTensors> FoldedTensors::Create(
    const TensorSource& tensors, const SmoothingFolds& folds) {
  FoldedTensors folded(tensors);
  for (const auto& [layer, factors] : folds.divided) {
    const LayerNormNames names = FindLayerNormNames(tensors, layer);
    RETURN_IF_ERROR(folded.Scale(names.weight, 0, factors, /*divide=*/true));
    if (!tensors.Contains(names.bias)) continue;
    RETURN_IF_ERROR(folded.Scale(names.bias, 0, factors, /*divide=*/true));
  }
  for (const auto& [layer, factors] : folds.multiplied) {
    RETURN_IF_ERROR(folded.Scale(StrCat(layer, ".weight"), 1, factors,
                                 /*divide=*/false));
  }
  return folded;
}

absl::Status FoldedTensors::Scale(const std::string& name, size_t along,
                                  const std::vector<float>& factors,
                                  bool divide) {
  ASSIGN_OR_RETURN(const TensorView view, Find(name));
  if (view.shape.size() <= along || view.shape.size() > 2 ||
      view.shape[along] != static_cast<int64_t>(factors.size())) {
    return absl::InvalidArgumentError(
        StrCat("tensor '", name, "' has shape ", ShapeString(view.shape),
               "; the smoothing has ", factors.size(), " factors"));
  }
  absl::StatusOr<std::vector<float>> values = ToFloat(view);
  if (!values.ok()) {
    return absl::Status(values.status().code(),
                        StrCat("tensor '", name,
                               "': ", std::string(values.status().message())));
  }
  const size_t columns =
      view.shape.size() == 2 ? static_cast<size_t>(view.shape[1]) : 1;
  for (size_t i = 0; i < values->size(); ++i) {
    const float factor = factors[along == 0 ? i / columns : i % columns];
    float& value = (*values)[i];
    value = divide ? value / factor : value * factor;
  }
  changed_[name] = {view.shape, *std::move(values)};
  return absl::OkStatus();
}

absl::StatusOr<TensorView> FoldedTensors::Find(std::string_view name) const {
  const auto changed = changed_.find(name);
  if (changed == changed_.end()) return tensors_->Find(name);
  const std::vector<float>& values = changed->second.values;
  return TensorView{DataType::kF32,
                    changed->second.shape,
                    {reinterpret_cast<const std::byte*>(values.data()),
                     values.size() * sizeof(float)}};
}

}  // namespace octet::model
