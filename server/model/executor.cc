#include "server/model/executor.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>
#include <variant>
#include <vector>

#include "kernels/float_attention.h"
#include "kernels/float_layer_norm.h"
#include "kernels/float_pooling.h"
#include "kernels/status_macros.h"
#include "server/model/chunks.h"

namespace octet::model {

using kernels::MatrixView;

// One way through the operators, for a chunk of a batch.
class Executor::Pass {
 public:
  struct Input {
    absl::Span<const int32_t> token_ids;
    absl::Span<const int32_t> lengths;
    absl::Span<const float> features;
    size_t rows;
  };

  Pass(const Executor& executor, const ValueLayout& layout, const Input& input,
       const RunOptions& options, kernels::AlignedBuffer& buffer)
      : graph_(executor.graph_),
        linears_(executor.linears_),
        parameters_(executor.parameters_),
        layout_(layout),
        input_(input),
        options_(options),
        values_(graph_, layout, input.rows, buffer) {}

  // Operators up to the one that writes the wanted value, into `to`.
  absl::Status Run(float* to) {
    if (graph_.input == InputKind::kFeatures) {
      std::copy(input_.features.begin(), input_.features.end(),
                values_.Make(0, input_.rows).data);
    }
    for (size_t i = 0; i < layout_.operators; ++i) {
      if (options_.cancelled && options_.cancelled()) {
        return absl::CancelledError("the request was cancelled");
      }
      RETURN_IF_ERROR(std::visit([&](const auto& op) { return Step(op); },
                                 graph_.operators[i]));
    }
    const MatrixView<float> result = values_.at(layout_.wanted);
    std::copy_n(result.data, result.rows * result.cols, to);
    return absl::OkStatus();
  }

 private:
  const LinearLayer& LayerOf(const Linear& op) const {
    if (options_.substitutes != nullptr) {
      const auto found = options_.substitutes->find(op.layer);
      if (found != options_.substitutes->end()) return *found->second;
    }
    return *linears_.find(op.layer)->second;
  }

  absl::Status Step(const Embedding& op) {
    Embed(op, parameters_, input_.token_ids, input_.lengths,
          values_.Make(op.output, input_.rows));
    return absl::OkStatus();
  }

  absl::Status Step(const Linear& op) {
    const MatrixView<float> x = values_.at(op.input);
    const MatrixView<float> y = values_.Make(op.output, x.rows);
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
                       values_.Make(op.output, x.rows), options_.pool);
    return absl::OkStatus();
  }

  absl::Status Step(const Attention& op) {
    const MatrixView<float> query = values_.at(op.query);
    kernels::Attention(query, values_.at(op.key), values_.at(op.value),
                       op.heads, input_.lengths, op.precision,
                       values_.Make(op.output, query.rows), options_.pool);
    return absl::OkStatus();
  }

  absl::Status Step(const Pooling& op) {
    PoolSequences(op.mode, values_.at(op.input), input_.lengths,
                  values_.Make(op.output, input_.lengths.size()));
    return absl::OkStatus();
  }

  absl::Status Step(const Normalize& op) {
    const MatrixView<float> x = values_.at(op.input);
    kernels::NormalizeL2(x, values_.Make(op.output, x.rows));
    return absl::OkStatus();
  }

  const Graph& graph_;
  const LinearLayers& linears_;
  const Parameters& parameters_;
  const ValueLayout& layout_;
  const Input& input_;
  const RunOptions& options_;
  Values values_;
};

namespace {

std::optional<ValueLayout> LayOut(const Graph& graph,
                                  std::optional<ValueId> wanted) {
  if (!wanted) return std::nullopt;
  return LayOutValues(graph, *wanted);
}

// An observer sees the whole batch at once; so does a model without sequences.
Chunks Divide(const Graph& graph, const ModelInput& input,
              const RunOptions& options) {
  if (graph.input != InputKind::kTokens || options.observer != nullptr) {
    return {{{.sequences = input.lengths.size(), .tokens = input.rows()}},
            false};
  }
  return DivideSequences(input.lengths,
                         options.pool == nullptr ? 1 : options.pool->threads());
}

// What the chunks of one batch have in common.
class Progress {
 public:
  bool failed() const { return failed_.load(std::memory_order_relaxed); }

  void Add(const absl::Status& status, const LayerKindTimes& times,
           LayerKindTimes* sum) {
    const std::scoped_lock lock(mutex_);
    if (!status.ok() && status_.ok()) {
      status_ = status;
      failed_ = true;
    }
    if (sum == nullptr) return;
    for (const auto& [kind, phases] : times) (*sum)[kind] += phases;
  }

  absl::Status status() const { return status_; }

 private:
  std::mutex mutex_;
  std::atomic<bool> failed_ = false;
  absl::Status status_;
};

}  // namespace

Executor::Executor(const Graph& graph, const LinearLayers& linears,
                   const Parameters& parameters)
    : graph_(graph),
      linears_(linears),
      parameters_(parameters),
      output_(LayOut(graph, graph.output)),
      hidden_(LayOut(graph, graph.hidden)) {}

absl::StatusOr<ModelOutput> Executor::Run(const ModelInput& input,
                                          const RunOptions& options) const {
  const auto& layout =
      options.output == OutputKind::kHidden ? hidden_ : output_;
  if (layout) return RunLayout(*layout, input, options);
  return absl::FailedPreconditionError(
      "output: the model has no hidden states, only its output");
}

absl::StatusOr<ModelOutput> Executor::RunLayout(
    const ValueLayout& layout, const ModelInput& input,
    const RunOptions& options) const {
  ModelOutput output;
  output.rows = layout.per_sequence ? input.lengths.size() : input.rows();
  output.cols = graph_.widths[layout.wanted];
  output.values.resize(output.rows * output.cols);
  const Chunks division = Divide(graph_, input, options);
  Progress progress;
  const auto run = [&](size_t index) {
    if (progress.failed()) return;
    const Chunk& chunk = division.chunks[index];
    const Pass::Input part = {
        absl::MakeConstSpan(input.token_ids)
            .subspan(chunk.first_token, chunk.tokens),
        absl::MakeConstSpan(input.lengths)
            .subspan(chunk.first_sequence, chunk.sequences),
        input.features, chunk.tokens};
    LayerKindTimes times;
    RunOptions own = options;
    if (division.in_parallel) own.pool = nullptr;
    if (options.times != nullptr) own.times = &times;
    kernels::AlignedBuffer buffer = workspaces_.Take();
    const size_t row =
        layout.per_sequence ? chunk.first_sequence : chunk.first_token;
    const absl::Status status =
        Pass(*this, layout, part, own, buffer)
            .Run(output.values.data() + row * output.cols);
    workspaces_.Give(std::move(buffer));
    progress.Add(status, times, options.times);
  };
  if (division.in_parallel) {
    options.pool->ParallelFor(division.chunks.size(), run);
  } else {
    for (size_t i = 0; i < division.chunks.size(); ++i) run(i);
  }
  RETURN_IF_ERROR(progress.status());
  return output;
}

}  // namespace octet::model
