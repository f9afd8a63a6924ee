#include "server/model/executor.h"

#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

#include "kernels/float_attention.h"
#include "kernels/float_layer_norm.h"
#include "kernels/float_pooling.h"
#include "kernels/status_macros.h"
#include "server/model/values.h"

namespace octet::model {
namespace {

using kernels::MatrixView;

class Run {
 public:
  Run(const Graph& graph, const LinearLayers& linears,
      const Parameters& parameters, const ModelInput& input,
      const RunOptions& options)
      : graph_(graph),
        linears_(linears),
        parameters_(parameters),
        input_(input),
        options_(options),
        values_(graph.widths.size()) {}

  // Operators up to the one that writes `wanted`; later ones are not needed.
  absl::StatusOr<ModelOutput> UpTo(ValueId wanted) {
    const size_t count = CountUpTo(wanted);
    const auto last_reads = LastReads(graph_, count, wanted);
    if (graph_.input == InputKind::kFeatures) TakeFeatures();
    for (size_t i = 0; i < count; ++i) {
      if (options_.cancelled && options_.cancelled()) {
        return absl::CancelledError("the request was cancelled");
      }
      RETURN_IF_ERROR(std::visit([&](const auto& op) { return Step(op); },
                                 graph_.operators[i]));
      for (const ValueId id : last_reads[i]) values_.Release(id);
    }
    const MatrixView<float> result = values_.at(wanted);
    return ModelOutput{
        std::vector<float>(result.data,
                           result.data + result.rows * result.cols),
        result.rows, result.cols};
  }

 private:
  size_t CountUpTo(ValueId wanted) const {
    const auto writer = std::find_if(
        graph_.operators.begin(), graph_.operators.end(),
        [&](const Operator& op) { return OutputOf(op) == wanted; });
    return writer == graph_.operators.end()
               ? 0
               : static_cast<size_t>(writer - graph_.operators.begin()) + 1;
  }

  void TakeFeatures() {
    const MatrixView<float> x =
        values_.Make(0, input_.feature_rows, graph_.input_width);
    std::copy(input_.features.begin(), input_.features.end(), x.data);
  }

  MatrixView<float> MakeOutput(ValueId id, size_t rows) {
    return values_.Make(id, rows, graph_.widths[id]);
  }

  const LinearLayer& LayerOf(const Linear& op) const {
    if (options_.substitutes != nullptr) {
      const auto found = options_.substitutes->find(op.layer);
      if (found != options_.substitutes->end()) return *found->second;
    }
    return *linears_.find(op.layer)->second;
  }

  absl::Status Step(const Embedding& op) {
    Embed(op, parameters_, input_.token_ids, input_.lengths,
          MakeOutput(op.output, input_.token_ids.size()));
    return absl::OkStatus();
  }

  absl::Status Step(const Linear& op) {
    const MatrixView<float> x = values_.at(op.input);
    const MatrixView<float> y = MakeOutput(op.output, x.rows);
    kernels::PhaseTimes times;
    kernels::LinearCall call;
    call.activation = op.activation;
    if (op.residual) call.residual = values_.at(*op.residual);
    call.pool = options_.pool;
    if (options_.times != nullptr) call.times = &times;
    RETURN_IF_ERROR(LayerOf(op).Run(x, y, call));
    if (options_.times != nullptr) {
      (*options_.times)[LayerKind(op.layer)] += times;
    }
    if (options_.observer == nullptr) return absl::OkStatus();
    return options_.observer->OnLinear(op, x, y);
  }

  absl::Status Step(const LayerNorm& op) {
    const MatrixView<float> x = values_.at(op.input);
    const LayerNormParameters& norm = parameters_.norm(op.layer);
    kernels::LayerNorm(x, norm.weight, norm.bias, op.epsilon,
                       MakeOutput(op.output, x.rows), options_.pool);
    return absl::OkStatus();
  }

  absl::Status Step(const Attention& op) {
    const MatrixView<float> query = values_.at(op.query);
    kernels::Attention(query, values_.at(op.key), values_.at(op.value),
                       op.heads, input_.lengths, op.precision,
                       MakeOutput(op.output, query.rows), options_.pool);
    return absl::OkStatus();
  }

  absl::Status Step(const Pooling& op) {
    PoolSequences(op.mode, values_.at(op.input), input_.lengths,
                  MakeOutput(op.output, input_.lengths.size()));
    return absl::OkStatus();
  }

  absl::Status Step(const Normalize& op) {
    const MatrixView<float> x = values_.at(op.input);
    kernels::NormalizeL2(x, MakeOutput(op.output, x.rows));
    return absl::OkStatus();
  }

  const Graph& graph_;
  const LinearLayers& linears_;
  const Parameters& parameters_;
  const ModelInput& input_;
  const RunOptions& options_;
  Values values_;
};

}  // namespace

absl::StatusOr<ModelOutput> Execute(const Graph& graph,
                                    const LinearLayers& linears,
                                    const Parameters& parameters,
                                    const ModelInput& input,
                                    const RunOptions& options) {
  const std::optional<ValueId> wanted =
      options.output == OutputKind::kHidden ? graph.hidden : graph.output;
  if (!wanted) {
    return absl::FailedPreconditionError(
        "output: the model has no hidden states, only its output");
  }
  return Run(graph, linears, parameters, input, options).UpTo(*wanted);
}

}  // namespace octet::model
