#include "server/serving/step_run.h"

#include <algorithm>
#include <cstdint>
#include <new>
#include <utility>

#include "absl/time/clock.h"
#include "server/serving/why_stopped.h"

namespace octet::serving {
namespace {

bool AddsUp(const model::Graph& graph, const model::ModelInput& input) {
  if (graph.input == model::InputKind::kFeatures) {
    return input.token_ids.empty() && input.lengths.empty() &&
           input.feature_rows > 0 &&
           input.features.size() == input.feature_rows * graph.input_width;
  }
  if (graph.input != model::InputKind::kTokens || !input.features.empty()) {
    return false;
  }
  size_t tokens = 0;
  for (const int32_t length : input.lengths) {
    if (length < 1) return false;
    tokens += static_cast<size_t>(length);
  }
  return tokens > 0 && tokens == input.token_ids.size();
}

kernels::PhaseTimes ShareOf(const kernels::PhaseTimes& times, size_t rows,
                            size_t all) {
  if (rows == all) return times;
  const double share = static_cast<double>(rows) / static_cast<double>(all);
  const auto take = [share](uint64_t ns) {
    return static_cast<uint64_t>(static_cast<double>(ns) * share);
  };
  return {take(times.quantize_ns), take(times.dot_ns),
          take(times.dequantize_ns), take(times.outlier_ns)};
}

}  // namespace

StepRun::StepRun(Step step, bool allow_non_finite, telemetry::Metrics* metrics)
    : step_(std::move(step)),
      allow_non_finite_(allow_non_finite),
      metrics_(metrics),
      since_(absl::Now()),
      divisible_(AddsUp(step_.model->model().graph(), step_.input)) {
  const model::ModelInput& input = step_.input;
  rows_ = std::max<size_t>(input.rows(), 1);
  if (divisible_) {
    items_ = input.lengths.empty() ? input.feature_rows : input.lengths.size();
  }
  rows_left_ = rows_;
}

size_t StepRun::RowsOf(size_t item) const {
  if (!divisible_) return rows_;
  const std::vector<int32_t>& lengths = step_.input.lengths;
  return lengths.empty() ? 1 : static_cast<size_t>(lengths[item]);
}

absl::Status StepRun::WhyStop() const {
  {
    const std::scoped_lock lock(mutex_);
    if (!status_.ok()) return status_;
  }
  return WhyStopped(step_.cancelled, step_.deadline);
}

absl::Status StepRun::Check() {
  std::call_once(checked_, [this] {
    check_ = model::ValidateInput(step_.model->model().graph(), step_.input,
                                  allow_non_finite_);
  });
  return check_;
}

void StepRun::Fail(const PieceRange& piece, const absl::Status& why,
                   const char* stage) {
  {
    const std::scoped_lock lock(mutex_);
    if (status_.ok()) {
      status_ = why;
      CountDropped(why, stage, metrics_);
    }
  }
  Account(piece.rows);
}

void StepRun::Complete(const PieceRange& piece,
                       kernels::MatrixView<const float> y, bool by_item,
                       const PieceTimes& times) {
  float* values = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    values = MakeRoom(by_item ? items_ : rows_, y.cols);
    if (values != nullptr) {
      Add(piece, times);
    } else if (status_.ok()) {
      status_ = OutOfMemory();
    }
  }
  if (values != nullptr) {
    const size_t first = by_item ? piece.first_item : piece.first_row;
    std::copy_n(y.data, y.rows * y.cols, values + first * y.cols);
  }
  Account(piece.rows);
}

float* StepRun::MakeRoom(size_t rows, size_t cols) {
  model::ModelOutput& output = result_.output;
  if (output.values.empty()) {
    try {
      output.values.resize(rows * cols);
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
    output.rows = rows;
    output.cols = cols;
  }
  return output.values.data();
}

void StepRun::CompleteWhole(model::ModelOutput output,
                            const PieceTimes& times) {
  {
    const std::scoped_lock lock(mutex_);
    result_.output = std::move(output);
    Add({0, items_, 0, rows_}, times);
  }
  Account(rows_);
}

void StepRun::Add(const PieceRange& piece, const PieceTimes& times) {
  result_.times += ShareOf(times.batch, piece.rows, times.batch_rows);
  batches_ += times.batch;
  start_ = std::min(start_, times.start);
  end_ = std::max(end_, times.end);
}

void StepRun::Account(size_t rows) {
  {
    const std::scoped_lock lock(mutex_);
    rows_left_ -= rows;
    if (rows_left_ > 0) return;
  }
  // Nobody else comes any more.
  if (!status_.ok()) return step_.done(status_);
  result_.queued = start_ - since_;
  result_.compute = end_ - start_;
  if (metrics_ != nullptr) {
    metrics_->ComputeStages(step_.model->id(),
                            absl::ToDoubleSeconds(result_.compute), batches_);
  }
  step_.done(std::move(result_));
}

}  // namespace octet::serving
