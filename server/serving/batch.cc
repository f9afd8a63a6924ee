#include "server/serving/batch.h"

#include <algorithm>
#include <new>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/types/span.h"
#include "kernels/aligned_vector.h"
#include "kernels/status_macros.h"
#include "server/model/model.h"
#include "server/serving/loaded_model.h"
#include "server/serving/why_stopped.h"

namespace octet::serving {
namespace {

bool EndsItsStep(const Piece& piece) {
  return piece.range.first_row + piece.range.rows == piece.run->rows();
}

// What a batch is computed from.
class BatchInput {
 public:
  // Nothing, with room for all `pieces`.
  void Start(const std::vector<Piece>& pieces) {
    token_ids_.clear();
    lengths_.clear();
    features_.clear();
    rows_ = 0;
    size_t rows = 0;
    size_t items = 0;
    for (const Piece& piece : pieces) {
      rows += piece.range.rows;
      items += piece.range.items;
    }
    width_ = pieces.front().run->step().model->model().graph().input_width;
    if (width_ > 0) {
      features_.reserve(rows * width_);
      return;
    }
    token_ids_.reserve(rows);
    lengths_.reserve(items);
  }

  // The rows of a piece. An error says what is wrong with them; then they are
  // not in the batch.
  absl::Status Add(Piece& piece, bool allow_non_finite) {
    RETURN_IF_ERROR(piece.run->Check());
    const Step& step = piece.run->step();
    const PieceRange& range = piece.range;
    if (!step.input.lengths.empty()) {
      Append(step.input.lengths, range.first_item, range.items, lengths_);
      Append(step.input.token_ids, range.first_row, range.rows, token_ids_);
      return absl::OkStatus();
    }
    const absl::Time start = absl::Now();
    features_.resize((rows_ + range.rows) * width_);
    float* const to = features_.data() + rows_ * width_;
    if (step.features.rows > 0) {
      RETURN_IF_ERROR(step.features.fetch(range.first_row, range.rows, to));
      if (!allow_non_finite) {
        RETURN_IF_ERROR(
            model::CheckFinite({to, range.rows, width_}, range.first_row));
      }
    } else {
      std::copy_n(step.input.features.data() + range.first_row * width_,
                  range.rows * width_, to);
    }
    rows_ += range.rows;
    piece.decode = absl::Now() - start;
    return absl::OkStatus();
  }

  model::ModelInputView view() const {
    model::ModelInputView input;
    input.token_ids = token_ids_;
    input.lengths = lengths_;
    // Behind them may be rows of a last piece that was refused.
    input.features = absl::MakeConstSpan(features_).first(width_ * rows_);
    input.feature_rows = rows_;
    return input;
  }

 private:
  static void Append(const std::vector<int32_t>& from, size_t first,
                     size_t count, std::vector<int32_t>& to) {
    const auto begin = from.begin() + static_cast<ptrdiff_t>(first);
    to.insert(to.end(), begin, begin + static_cast<ptrdiff_t>(count));
  }

  std::vector<int32_t> token_ids_;
  std::vector<int32_t> lengths_;
  kernels::AlignedVector<float> features_;
  size_t width_ = 0;  // of a row of features; 0 where the model reads tokens
  size_t rows_ = 0;   // of features
};

// Runs `pieces`, none of which has been reported, and reports the time.
absl::Status Compute(const std::vector<Piece>& pieces,
                     const model::ModelInputView& input,
                     const BatchOptions& how, BatchTimes* times) {
  const Step& first = pieces.front().run->step();
  model::RunOptions options;
  options.output = first.output;
  options.pool = how.pool;
  options.allow_non_finite = true;  // each piece was checked
  options.cancelled = [&pieces] {
    return std::all_of(pieces.begin(), pieces.end(), [](const Piece& piece) {
      return !piece.run->WhyStop().ok();
    });
  };
  std::vector<kernels::MatrixView<float>> outputs;
  outputs.reserve(pieces.size());
  for (const Piece& piece : pieces) outputs.push_back(piece.output);
  const auto requests =
      std::count_if(pieces.begin(), pieces.end(), EndsItsStep);
  times->rows = input.rows();
  RETURN_IF_ERROR(
      first.model->ForwardBatch(input, static_cast<size_t>(requests),
                                std::move(options), outputs, &times->phases));
  times->end = absl::Now();
  return absl::OkStatus();
}

// Reports pieces for which `why` has a reason, and takes them out.
template <typename Why>
void Drop(std::vector<Piece>& pieces, const char* stage, Why why) {
  size_t kept = 0;
  for (Piece& piece : pieces) {
    if (const absl::Status status = why(piece); !status.ok()) {
      piece.run->Fail(piece.range, status, stage);
    } else {
      std::swap(pieces[kept++], piece);
    }
  }
  pieces.resize(kept);
}

template <typename F>
absl::Status WithMemoryFor(F f) {
  try {
    return f();
  } catch (const std::bad_alloc&) {
    return OutOfMemory();
  }
}

void Report(const std::vector<Piece>& pieces, const absl::Status& status,
            const BatchTimes& times) {
  for (const Piece& piece : pieces) {
    const absl::Status why = piece.run->WhyStop();
    if (status.ok() && why.ok()) {
      piece.run->Complete(piece.range, piece.decode, times);
    } else {
      const bool stopped = status.ok() || absl::IsCancelled(status);
      piece.run->Fail(piece.range, stopped && !why.ok() ? why : status,
                      "compute");
    }
  }
}

}  // namespace

void RunBatch(std::vector<Piece> pieces, const BatchOptions& options) {
  BatchTimes times;
  times.start = absl::Now();
  Drop(pieces, "queue", [](Piece& piece) { return piece.run->WhyStop(); });
  if (pieces.empty()) return;
  // Kept by each worker, as large as a batch of rows can be.
  static thread_local BatchInput input;
  model::OutputForm form;
  absl::Status status = WithMemoryFor([&]() -> absl::Status {
    const Step& first = pieces.front().run->step();
    ASSIGN_OR_RETURN(form, first.model->model().FormOf(first.output));
    input.Start(pieces);
    return absl::OkStatus();
  });
  if (!status.ok()) return Report(pieces, status, times);
  // What is wrong with one must not spoil its neighbours.
  Drop(pieces, "compute", [&](Piece& piece) {
    return WithMemoryFor([&] {
      piece.output = piece.run->Room(piece.range, form);
      return input.Add(piece, options.allow_non_finite);
    });
  });
  if (pieces.empty()) return;
  status = WithMemoryFor(
      [&] { return Compute(pieces, input.view(), options, &times); });
  Report(pieces, status, times);
}

}  // namespace octet::serving
