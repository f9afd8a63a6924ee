#include "server/serving/batch.h"

#include <algorithm>
#include <new>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "server/model/model.h"
#include "server/serving/why_stopped.h"

namespace octet::serving {
namespace {

bool IsWhole(const Piece& piece) {
  return piece.range.rows == piece.run->rows();
}

bool EndsItsStep(const Piece& piece) {
  return piece.range.first_row + piece.range.rows == piece.run->rows();
}

// Reports those that are not wanted, and takes them out.
void DropStopped(std::vector<Piece>& pieces) {
  const auto stopped = [](const Piece& piece) {
    const absl::Status why = piece.run->WhyStop();
    if (!why.ok()) piece.run->Fail(piece.range, why, "queue");
    return !why.ok();
  };
  pieces.erase(std::remove_if(pieces.begin(), pieces.end(), stopped),
               pieces.end());
}

// An input that is wrong must not spoil its neighbours.
void DropInvalid(std::vector<Piece>& pieces) {
  const auto invalid = [](const Piece& piece) {
    const absl::Status why = piece.run->Check();
    if (!why.ok()) piece.run->Fail(piece.range, why, "compute");
    return !why.ok();
  };
  pieces.erase(std::remove_if(pieces.begin(), pieces.end(), invalid),
               pieces.end());
}

template <typename T>
void Append(const std::vector<T>& from, size_t first, size_t count,
            std::vector<T>& to) {
  const auto begin = from.begin() + static_cast<ptrdiff_t>(first);
  to.insert(to.end(), begin, begin + static_cast<ptrdiff_t>(count));
}

void Append(const Piece& piece, model::ModelInput& input) {
  const model::ModelInput& from = piece.run->step().input;
  const PieceRange& range = piece.range;
  if (from.lengths.empty()) {
    const size_t width = from.features.size() / from.feature_rows;
    Append(from.features, range.first_row * width, range.rows * width,
           input.features);
    input.feature_rows += range.rows;
    return;
  }
  Append(from.lengths, range.first_item, range.items, input.lengths);
  Append(from.token_ids, range.first_row, range.rows, input.token_ids);
}

absl::StatusOr<model::ModelInput> Merged(const std::vector<Piece>& pieces) {
  try {
    model::ModelInput input;
    for (const Piece& piece : pieces) Append(piece, input);
    return input;
  } catch (const std::bad_alloc&) {
    return OutOfMemory();
  }
}

// Runs `pieces`, none of which has been reported, and reports the time.
absl::StatusOr<model::ModelOutput> Compute(const std::vector<Piece>& pieces,
                                           const model::ModelInput& input,
                                           const BatchOptions& how,
                                           PieceTimes* times) {
  const Step& first = pieces.front().run->step();
  model::RunOptions options;
  options.output = first.output;
  options.pool = how.pool;
  options.allow_non_finite = how.allow_non_finite;
  options.cancelled = [&pieces] {
    return std::all_of(pieces.begin(), pieces.end(), [](const Piece& piece) {
      return !piece.run->WhyStop().ok();
    });
  };
  const auto requests =
      std::count_if(pieces.begin(), pieces.end(), EndsItsStep);
  times->batch_rows = std::max<size_t>(input.rows(), 1);
  times->start = absl::Now();
  try {
    auto output =
        first.model->ForwardBatch(input, static_cast<size_t>(requests),
                                  std::move(options), &times->batch);
    times->end = absl::Now();
    return output;
  } catch (const std::bad_alloc&) {
    return OutOfMemory();
  }
}

void FailAll(const std::vector<Piece>& pieces, const absl::Status& status) {
  for (const Piece& piece : pieces) {
    const absl::Status why = piece.run->WhyStop();
    const bool stopped = absl::IsCancelled(status) && !why.ok();
    piece.run->Fail(piece.range, stopped ? why : status, "compute");
  }
}

void RunWhole(const std::vector<Piece>& pieces, const BatchOptions& how) {
  const Piece& piece = pieces.front();
  PieceTimes times;
  auto output = Compute(pieces, piece.run->step().input, how, &times);
  if (!output.ok()) return FailAll(pieces, output.status());
  piece.run->CompleteWhole(*std::move(output), times);
}

void RunMerged(const std::vector<Piece>& pieces, const BatchOptions& how) {
  const auto input = Merged(pieces);
  if (!input.ok()) return FailAll(pieces, input.status());
  PieceTimes times;
  const auto output = Compute(pieces, *input, how, &times);
  if (!output.ok()) return FailAll(pieces, output.status());
  const Step& first = pieces.front().run->step();
  const bool by_item = first.model->PoolsSequences(first.output);
  const kernels::MatrixView<const float> y(output->values.data(), output->rows,
                                           output->cols);
  size_t row = 0;
  for (const Piece& piece : pieces) {
    const size_t rows = by_item ? piece.range.items : piece.range.rows;
    if (absl::Status why = piece.run->WhyStop(); why.ok()) {
      piece.run->Complete(piece.range, y.Rows(row, rows), by_item, times);
    } else {
      piece.run->Fail(piece.range, why, "compute");
    }
    row += rows;
  }
}

}  // namespace

void RunBatch(std::vector<Piece> pieces, const BatchOptions& options) {
  DropStopped(pieces);
  if (pieces.size() == 1 && IsWhole(pieces.front())) {
    return RunWhole(pieces, options);
  }
  DropInvalid(pieces);
  if (!pieces.empty()) RunMerged(pieces, options);
}

}  // namespace octet::serving
