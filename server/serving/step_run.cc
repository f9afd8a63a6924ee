#include "server/serving/step_run.h"

#include <algorithm>
#include <cstdint>
#include <new>
#include <utility>

#include "absl/time/clock.h"
#include "server/serving/why_stopped.h"

namespace octet::serving {
namespace {

bool AddsUp(const model::Graph& graph, const Step& step) {
  const model::ModelInput& input = step.input;
  if (step.features.rows > 0) {
    return graph.input == model::InputKind::kFeatures && input.rows() == 0;
  }
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
      divisible_(AddsUp(step_.model->model().graph(), step_)) {
  const std::vector<int32_t>& lengths = step_.input.lengths;
  rows_ = std::max<size_t>(step_.input.rows() + step_.features.rows, 1);
  if (divisible_) items_ = lengths.empty() ? rows_ : lengths.size();
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
  if (divisible_ && step_.features.rows > 0) return absl::OkStatus();
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

kernels::MatrixView<float> StepRun::Room(const PieceRange& piece,
                                         const model::OutputForm& form) {
  const std::scoped_lock lock(mutex_);
  model::ModelOutput& output = result_.output;
  if (output.values.empty()) {
    output = model::ModelOutput::Uninitialized(
        form.per_sequence ? items_ : rows_, form.cols);
  }
  return form.per_sequence ? output.view().Rows(piece.first_item, piece.items)
                           : output.view().Rows(piece.first_row, piece.rows);
}

void StepRun::Complete(const PieceRange& piece, absl::Duration decode,
                       const BatchTimes& times) {
  {
    const std::scoped_lock lock(mutex_);
    result_.times += ShareOf(times.phases, piece.rows, times.rows);
    batches_ += times.phases;
    busy_ += times.end - times.start;
    decode_ += decode;
    start_ = std::min(start_, times.start);
    end_ = std::max(end_, times.end);
  }
  Account(piece.rows);
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
  // What passed on the clock, divided as the workers' time was.
  const absl::Duration passed = end_ - start_;
  if (busy_ > absl::ZeroDuration()) {
    result_.decode = passed * absl::FDivDuration(decode_, busy_);
  }
  result_.compute = passed - result_.decode;
  if (metrics_ != nullptr) {
    metrics_->ComputeStages(step_.model->id(),
                            absl::ToDoubleSeconds(result_.compute), batches_);
  }
  step_.done(std::move(result_));
}

}  // namespace octet::serving
