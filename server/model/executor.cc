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
#include "kernels/norm_quantize.h"
#include "kernels/status_macros.h"
#include "server/model/chunks.h"

namespace octet::model {

using kernels::MatrixView;

namespace {

// The rows of a whole output, which are divided between matrices.
class OutputRows {
 public:
  explicit OutputRows(absl::Span<const MatrixView<float>> parts)
      : parts_(parts) {}

  // As one matrix, if they are all of one part.
  std::optional<MatrixView<float>> Find(size_t first, size_t count) const {
    for (const MatrixView<float>& part : parts_) {
      if (first < part.rows) {
        if (first + count > part.rows) break;
        return part.Rows(first, count);
      }
      first -= part.rows;
    }
    return std::nullopt;
  }

  void CopyFrom(MatrixView<const float> rows, size_t first) const {
    size_t copied = 0;
    for (const MatrixView<float>& part : parts_) {
      for (; first < part.rows; ++first, ++copied) {
        if (copied == rows.rows) return;
        std::copy_n(rows.row(copied), rows.cols, part.row(first));
      }
      first -= part.rows;
    }
  }

 private:
  absl::Span<const MatrixView<float>> parts_;
};

}  // namespace

// One way through the operators, for a chunk of a batch.
class Executor::Pass {
 public:
  // `pool` takes the place of the options'.
  Pass(const Executor& executor, const ValueLayout& layout,
       const ModelInputView& input, const RunOptions& options,
       kernels::ThreadPool* pool, Workspace& workspace)
      : executor_(executor),
        graph_(executor.graph_),
        parameters_(executor.parameters_),
        layout_(layout),
        input_(input),
        options_(options),
        pool_(pool),
        values_(workspace.values),
        times_(workspace.times) {
    values_.Reset(graph_, layout, input.rows());
    times_.assign(executor.kinds_.size(), {});
  }

  // Operators up to the one that writes the wanted value, whose rows are those
  // of `to` from `first` on.
  absl::Status Run(const OutputRows& to, size_t first) {
    const size_t rows =
        layout_.per_sequence ? input_.lengths.size() : input_.rows();
    const auto place = to.Find(first, rows);
    if (place) values_.PlaceAt(layout_.wanted, *place);
    if (graph_.input == InputKind::kFeatures) {
      values_.Borrow(0,
                     {input_.features.data(), input_.rows(), graph_.widths[0]});
    }
    for (size_t i = 0; i < layout_.operators; ++i) {
      if (options_.cancelled && options_.cancelled()) {
        return absl::CancelledError("the request was cancelled");
      }
      prepared_ = &executor_.prepared_[i];
      RETURN_IF_ERROR(std::visit([&](const auto& op) { return Step(op); },
                                 graph_.operators[i]));
    }
    if (!place) to.CopyFrom(values_.at(layout_.wanted), first);
    return absl::OkStatus();
  }

 private:
  const LinearLayer& LayerOf(const Linear& op) const {
    if (options_.substitutes != nullptr) {
      const auto found = options_.substitutes->find(op.layer);
      if (found != options_.substitutes->end()) return *found->second;
    }
    return *prepared_->layer;
  }

  absl::Status Step(const Embedding& op) {
    Embed(op, parameters_, input_.token_ids, input_.lengths,
          values_.Make(op.output, input_.rows()));
    return absl::OkStatus();
  }

  absl::Status Step(const Linear& op) {
    const MatrixView<float> x = values_.at(op.input);
    const MatrixView<float> y = values_.Make(op.output, x.rows);
    kernels::PhaseTimes times;
    kernels::LinearCall call;
    call.activation = op.activation;
    if (op.residual) call.residual = values_.at(*op.residual);
    call.pool = pool_;
    if (options_.times != nullptr) call.times = &times;
    RETURN_IF_ERROR(op.takes_codes ? RunOnCodes(op, x, y, call)
                                   : LayerOf(op).Run(x, y, call));
    AddTimes(times);
    if (options_.observer == nullptr) return absl::OkStatus();
    return options_.observer->OnLinear(op, x, y);
  }

  absl::Status RunOnCodes(const Linear& op, MatrixView<float> x,
                          MatrixView<float> y,
                          const kernels::LinearCall& call) const {
    const CodedValue coded(x, op.in_features);
    return LayerOf(op).int8()->Run(
        kernels::LinearInput::Codes(coded.codes, coded.scales),
        kernels::LinearOutput::Fp32(y), call);
  }

  absl::Status Step(const LayerNorm& op) {
    const MatrixView<float> x = values_.at(op.input);
    const LayerNormParameters& norm = parameters_.norm(op.layer);
    if (op.codes) {
      const CodedValue coded(values_.Make(*op.codes, x.rows), x.cols);
      kernels::PhaseTimes times;
      kernels::NormAndQuantize(
          {.x = x,
           .weight = norm.weight,
           .bias = norm.bias,
           .epsilon = op.epsilon,
           .y = values_.Make(op.output, x.rows),
           .coding = *prepared_->coding,
           .codes = coded.codes,
           .scales = coded.scales.data(),
           .quantize_ns =
               options_.times == nullptr ? nullptr : &times.quantize_ns},
          pool_);
      AddTimes(times);
      return absl::OkStatus();
    }
    kernels::LayerNorm(x, norm.weight, norm.bias, op.epsilon,
                       values_.Make(op.output, x.rows), pool_);
    return absl::OkStatus();
  }

  absl::Status Step(const Attention& op) {
    const MatrixView<float> out = values_.Make(op.output, input_.rows());
    kernels::Attention(values_.at(op.query).Columns(op.query_column, out.cols),
                       values_.at(op.key).Columns(op.key_column, out.cols),
                       values_.at(op.value).Columns(op.value_column, out.cols),
                       op.heads, input_.lengths, op.precision, out, pool_);
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

  // Divided by columns where layers were fused; all of it is in the sum.
  void AddTimes(const kernels::PhaseTimes& times) {
    kernels::PhaseTimes left = times;
    size_t columns = 0;
    for (const Share& share : prepared_->shares) columns += share.columns;
    for (const Share& share : prepared_->shares) {
      const auto take = [&](uint64_t& ns) {
        const uint64_t part = ns * share.columns / columns;
        ns -= part;
        return part;
      };
      times_[share.kind] += {take(left.quantize_ns), take(left.dot_ns),
                             take(left.dequantize_ns), take(left.outlier_ns)};
      columns -= share.columns;
    }
  }

  const Executor& executor_;
  const Graph& graph_;
  const Parameters& parameters_;
  const ValueLayout& layout_;
  const ModelInputView& input_;
  const RunOptions& options_;
  kernels::ThreadPool* pool_;
  Values& values_;
  std::vector<kernels::PhaseTimes>& times_;
  const Prepared* prepared_ = nullptr;  // of the operator that runs
};

namespace {

std::optional<ValueLayout> LayOut(const Graph& graph,
                                  std::optional<ValueId> wanted) {
  if (!wanted) return std::nullopt;
  return LayOutValues(graph, *wanted);
}

// An observer sees the whole batch at once; so does a model without sequences.
void Divide(const Graph& graph, const ModelInputView& input,
            const RunOptions& options, Chunks& division) {
  if (graph.input == InputKind::kTokens && options.observer == nullptr) {
    const size_t threads =
        options.pool == nullptr ? 1 : options.pool->threads();
    return DivideSequences(input.lengths, threads, division);
  }
  division.chunks.assign(
      1, {.sequences = input.lengths.size(), .tokens = input.rows()});
  division.in_parallel = false;
}

// What the chunks of one batch have in common.
class Progress {
 public:
  bool failed() const { return failed_.load(std::memory_order_relaxed); }

  void Add(const absl::Status& status,
           absl::Span<const kernels::PhaseTimes> times,
           absl::Span<const std::string> kinds, LayerKindTimes* sum) {
    const std::scoped_lock lock(mutex_);
    if (!status.ok() && status_.ok()) {
      status_ = status;
      failed_ = true;
    }
    if (sum == nullptr) return;
    for (size_t i = 0; i < kinds.size(); ++i) {
      const auto found = sum->find(kinds[i]);
      (found == sum->end() ? (*sum)[kinds[i]] : found->second) += times[i];
    }
  }

  absl::Status status() const { return status_; }

 private:
  std::mutex mutex_;
  std::atomic<bool> failed_ = false;
  absl::Status status_;
};

}  // namespace

Executor::Executor(const Graph& graph, FindLayer find,
                   const Parameters& parameters)
    : graph_(graph),
      parameters_(parameters),
      prepared_(graph.operators.size()),
      output_(LayOut(graph, graph.output)),
      hidden_(LayOut(graph, graph.hidden)) {
  for (size_t i = 0; i < graph.operators.size(); ++i) {
    if (const auto* norm = std::get_if<LayerNorm>(&graph.operators[i])) {
      PrepareNorm(*norm, find, prepared_[i]);
    }
    const auto* linear = std::get_if<Linear>(&graph.operators[i]);
    if (linear == nullptr) continue;
    prepared_[i].layer = find(linear->layer);
    Prepare(*linear, prepared_[i]);
  }
}

size_t Executor::KindOf(std::string_view layer) {
  const auto [kind, is_new] =
      kind_numbers_.emplace(LayerKind(layer), kinds_.size());
  if (is_new) kinds_.push_back(kind->first);
  return kind->second;
}

void Executor::Prepare(const Linear& op, Prepared& prepared) {
  for (const Linear::Part& part : op.parts) {
    prepared.shares.push_back({KindOf(part.layer), part.out_features});
  }
  if (op.parts.empty()) {
    prepared.shares.push_back({KindOf(op.layer), op.out_features});
  }
}

// Codes are written for those who read them, who all make the same ones.
void Executor::PrepareNorm(const LayerNorm& op, FindLayer find,
                           Prepared& prepared) {
  for (const Operator& reader : graph_.operators) {
    const auto* linear = std::get_if<Linear>(&reader);
    if (linear == nullptr || !op.codes || linear->input != *op.codes) continue;
    Prepare(*linear, prepared);
    prepared.coding = &find(linear->layer)->int8()->input_coding();
  }
}

absl::StatusOr<const ValueLayout*> Executor::LayoutOf(OutputKind output) const {
  const auto& layout = output == OutputKind::kHidden ? hidden_ : output_;
  if (layout) return &*layout;
  return absl::FailedPreconditionError(
      "output: the model has no hidden states, only its output");
}

absl::StatusOr<OutputForm> Executor::FormOf(OutputKind output) const {
  ASSIGN_OR_RETURN(const ValueLayout* const layout, LayoutOf(output));
  return OutputForm{layout->per_sequence, graph_.widths[layout->wanted]};
}

absl::Status Executor::Run(const ModelInputView& input,
                           const RunOptions& options,
                           absl::Span<const MatrixView<float>> outputs) const {
  ASSIGN_OR_RETURN(const ValueLayout* const layout, LayoutOf(options.output));
  const OutputRows to(outputs);
  // Kept by each calling thread; an observer's own run inside finds none.
  static thread_local Chunks kept;
  Chunks division = std::exchange(kept, {});
  Divide(graph_, input, options, division);
  const absl::Span<const Chunk> chunks = division.chunks;
  kernels::ThreadPool* const inside =
      division.in_parallel ? nullptr : options.pool;
  Progress progress;
  const auto run = [&](size_t index) {
    if (progress.failed()) return;
    const Chunk& chunk = chunks[index];
    ModelInputView part;
    part.token_ids = input.token_ids.subspan(chunk.first_token, chunk.tokens);
    part.lengths = input.lengths.subspan(chunk.first_sequence, chunk.sequences);
    part.features = input.features;
    part.feature_rows = input.feature_rows;
    Workspace workspace = workspaces_.Take();
    const size_t row =
        layout->per_sequence ? chunk.first_sequence : chunk.first_token;
    const absl::Status status =
        Pass(*this, *layout, part, options, inside, workspace).Run(to, row);
    progress.Add(status, workspace.times, kinds_, options.times);
    workspaces_.Give(std::move(workspace));
  };
  if (division.in_parallel) {
    options.pool->ParallelFor(chunks.size(), run);
  } else {
    for (size_t i = 0; i < chunks.size(); ++i) run(i);
  }
  kept = std::move(division);
  return progress.status();
}

}  // namespace octet::model
