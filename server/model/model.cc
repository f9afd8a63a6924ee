#include "server/model/model.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_join.h"
#include "kernels/status_macros.h"
#include "server/model/executor.h"
#include "server/model/graph_passes.h"
#include "server/model/operators.h"
#include "server/model/part_layer.h"
#include "server/model/stacked_tensors.h"
#include "server/model/str_cat.h"

namespace octet::model {

using kernels::MatrixView;

namespace {

using LinearLayers =
    std::map<std::string, std::unique_ptr<LinearLayer>, std::less<>>;

size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({change, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

// The names nearest to `name`, nearest first.
std::vector<std::string> Nearest(std::string_view name,
                                 const LinearLayers& linears) {
  constexpr size_t kShown = 3;
  constexpr size_t kCompared = 200;  // characters: names come from callers
  std::vector<std::pair<size_t, std::string>> ranked;
  for (const auto& [layer, unused] : linears) {
    ranked.emplace_back(
        EditDistance(name.substr(0, kCompared),
                     std::string_view(layer).substr(0, kCompared)),
        StrCat("'", layer, "'"));
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<std::string> nearest;
  for (size_t i = 0; i < std::min(kShown, ranked.size()); ++i) {
    nearest.push_back(ranked[i].second);
  }
  return nearest;
}

}  // namespace

class Model::Impl {
 public:
  Impl(Graph graph, const Plan& plan) : graph_(std::move(graph)), plan_(plan) {
    UseBf16Attention(graph_, plan_);
  }

  absl::Status Load(const TensorSource& tensors, const LinearOptions& options) {
    lowered_ = graph_;
    FuseQkv(lowered_, plan_, tensors);
    FuseNormQuantize(lowered_, plan_);
    for (const Operator& op : lowered_.operators) {
      if (const auto* linear = std::get_if<Linear>(&op)) {
        RETURN_IF_ERROR(linear->parts.empty()
                            ? LoadLinear(*linear, tensors, options)
                            : LoadStack(*linear, tensors, options));
      } else if (const auto* embedding = std::get_if<Embedding>(&op)) {
        RETURN_IF_ERROR(parameters_.Load(
            *embedding, lowered_.widths[embedding->output], lowered_, tensors));
      } else if (const auto* norm = std::get_if<LayerNorm>(&op)) {
        RETURN_IF_ERROR(
            parameters_.Load(*norm, lowered_.widths[norm->output], tensors));
      }
    }
    for (const auto& [layer, scheme] : plan_) {
      if (!linears_.contains(layer)) {
        return absl::InvalidArgumentError(
            StrCat("plan: the model has no linear layer '", layer, "'"));
      }
    }
    const auto find = [this](std::string_view layer) {
      const auto stack = stacks_.find(layer);
      return stack != stacks_.end() ? stack->second.get()
                                    : linears_.find(layer)->second.get();
    };
    if (graph_.input == InputKind::kNone) return absl::OkStatus();
    executor_.emplace(lowered_, find, parameters_);
    by_layer_.emplace(graph_, find, parameters_);
    return absl::OkStatus();
  }

  const Graph& graph() const { return graph_; }
  const Plan& plan() const { return plan_; }
  const LinearLayers& linears() const { return linears_; }
  const Parameters& parameters() const { return parameters_; }
  // Observers and substitutes know the linears of the graph, not what the
  // passes make of them.
  const Executor& executor(const RunOptions& options) const {
    const bool by_layer =
        options.observer != nullptr || options.substitutes != nullptr;
    return by_layer ? *by_layer_ : *executor_;
  }

 private:
  absl::Status LoadLinear(const Linear& linear, const TensorSource& tensors,
                          const LinearOptions& options) {
    const auto planned = plan_.find(linear.layer);
    const LinearScheme scheme =
        planned == plan_.end() ? LinearScheme{} : planned->second;
    ASSIGN_OR_RETURN(linears_[linear.layer],
                     MakeLinearLayer(linear, scheme, tensors, options));
    return absl::OkStatus();
  }

  // The layers' own tensors as one matrix, and each layer a part of it.
  absl::Status LoadStack(const Linear& linear, const TensorSource& tensors,
                         const LinearOptions& options) {
    std::vector<std::string> layers;
    for (const Linear::Part& part : linear.parts) layers.push_back(part.layer);
    ASSIGN_OR_RETURN(const StackedTensors stacked,
                     StackedTensors::Create(tensors, linear.layer, layers));
    const LinearScheme scheme = plan_.find(layers[0])->second;
    auto& stack = stacks_[linear.layer];
    ASSIGN_OR_RETURN(stack, MakeLinearLayer(linear, scheme, stacked, options));
    size_t first = 0;
    for (const Linear::Part& part : linear.parts) {
      linears_[part.layer] = MakePartLayer(*stack, first, part.out_features);
      first += part.out_features;
    }
    return absl::OkStatus();
  }

  Graph graph_;
  Graph lowered_;  // what runs, after the passes
  Plan plan_;
  LinearLayers stacks_;  // read by parts among the linears
  LinearLayers linears_;
  Parameters parameters_;
  std::optional<Executor> executor_;  // none of a linear_set
  std::optional<Executor> by_layer_;
};

absl::StatusOr<std::unique_ptr<const Model>> Model::Create(
    Graph graph, const TensorSource& tensors, const Plan& plan,
    const LinearOptions& options) {
  auto impl = std::make_unique<Impl>(std::move(graph), plan);
  RETURN_IF_ERROR(impl->Load(tensors, options));
  return std::unique_ptr<const Model>(new Model(std::move(impl)));
}

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;

absl::StatusOr<ModelOutput> Model::Forward(const ModelInputView& input,
                                           const RunOptions& options) const {
  ASSIGN_OR_RETURN(const OutputForm form, FormOf(options.output));
  ModelOutput output = ModelOutput::Uninitialized(
      form.per_sequence ? input.lengths.size() : input.rows(), form.cols);
  const MatrixView<float> rows = output.view();
  RETURN_IF_ERROR(ForwardInto(input, options, {&rows, 1}));
  return output;
}

absl::Status Model::ForwardInto(
    const ModelInputView& input, const RunOptions& options,
    absl::Span<const MatrixView<float>> outputs) const {
  RETURN_IF_ERROR(
      ValidateInput(impl_->graph(), input, options.allow_non_finite));
  return impl_->executor(options).Run(input, options, outputs);
}

absl::StatusOr<OutputForm> Model::FormOf(OutputKind output) const {
  // A linear_set has no outputs, as it has no inputs.
  if (graph().input == InputKind::kNone) return ValidateInput(graph(), {});
  return impl_->executor(RunOptions()).FormOf(output);
}

ModelOutput ModelOutput::Uninitialized(size_t rows, size_t cols) {
  ModelOutput output;
  output.values.resize(rows * cols);
  output.rows = rows;
  output.cols = cols;
  return output;
}

absl::StatusOr<const LinearLayer*> Model::FindLinear(
    std::string_view layer) const {
  const auto found = impl_->linears().find(layer);
  if (found != impl_->linears().end()) return found->second.get();
  return absl::NotFoundError(
      StrCat("no linear layer '", layer.substr(0, 200), "'; near it are ",
             absl::StrJoin(Nearest(layer, impl_->linears()), ", ")));
}

const Graph& Model::graph() const { return impl_->graph(); }
const Plan& Model::plan() const { return impl_->plan(); }

size_t Model::resident_bytes() const {
  size_t bytes = impl_->parameters().bytes();
  for (const auto& [layer, linear] : impl_->linears()) {
    bytes += linear->weight_bytes();
  }
  return bytes;
}

std::string LayerKind(std::string_view layer) {
  const auto is_number = [](std::string_view part) {
    return !part.empty() && std::all_of(part.begin(), part.end(), [](char c) {
      return c >= '0' && c <= '9';
    });
  };
  const auto last_part = [](std::string_view name) {
    const size_t dot = name.rfind('.');
    return dot == std::string_view::npos ? name : name.substr(dot + 1);
  };
  // "net.0": a list of layers without names of their own.
  std::string_view rest = layer;
  while (rest.size() > last_part(rest).size() && is_number(last_part(rest))) {
    rest.remove_suffix(last_part(rest).size() + 1);
  }
  if (is_number(rest)) return std::string(layer);
  size_t kind = rest.size();  // where the kind begins
  while (true) {
    const std::string_view part = last_part(rest.substr(0, kind));
    if (is_number(part)) return std::string(rest.substr(kind + 1));
    kind -= part.size();
    if (kind == 0) return std::string(rest);
    --kind;  // the dot before the part
  }
}

}  // namespace octet::model
