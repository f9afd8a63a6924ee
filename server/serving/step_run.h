// A step from its admission to its answer. Its rows may be computed in pieces,
// by several workers and in several batches; whoever brings the last piece
// answers.

#ifndef OCTET_SERVER_SERVING_STEP_RUN_H_
#define OCTET_SERVER_SERVING_STEP_RUN_H_

#include <cstddef>
#include <mutex>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "kernels/matrix_view.h"
#include "kernels/phase_clock.h"
#include "server/model/model.h"
#include "server/serving/scheduler.h"
#include "server/telemetry/metrics.h"

namespace octet::serving {

// Items are what a step can be divided into: sequences, or feature rows.
struct PieceRange {
  size_t first_item = 0;
  size_t items = 0;
  size_t first_row = 0;
  size_t rows = 0;
};

// When a batch was computed, and the phases of it.
struct BatchTimes {
  absl::Time start;
  absl::Time end;
  kernels::PhaseTimes phases;
  size_t rows;
};

class StepRun {
 public:
  // `metrics` may be nullptr.
  StepRun(Step step, bool allow_non_finite, telemetry::Metrics* metrics);

  const Step& step() const { return step_; }
  absl::Time since() const { return since_; }
  size_t items() const { return items_; }
  size_t rows() const { return rows_; }
  size_t RowsOf(size_t item) const;
  // Its input adds up, so that it may be divided and be part of a batch.
  // Otherwise it runs alone, and the model says what is wrong with it.
  bool divisible() const { return divisible_; }

  // Why no further piece must be computed; OK when it still should.
  absl::Status WhyStop() const;
  // What is wrong with the input as a whole; looked at once.
  absl::Status Check();

  // Where a piece's rows of the output belong: its items', or its rows'.
  kernels::MatrixView<float> Room(const PieceRange& piece,
                                  const model::OutputForm& form);

  // Each piece is reported once, by one of these. `stage` is where the step
  // failed: "queue" or "compute".
  void Fail(const PieceRange& piece, const absl::Status& why,
            const char* stage);
  // Its rows are where Room said; fetching them took `decode`.
  void Complete(const PieceRange& piece, absl::Duration decode,
                const BatchTimes& times);

 private:
  // Answers when no rows are left.
  void Account(size_t rows);

  const Step step_;
  const bool allow_non_finite_;
  telemetry::Metrics* const metrics_;
  const absl::Time since_;
  const bool divisible_;
  size_t items_ = 1;
  size_t rows_ = 1;
  std::once_flag checked_;
  absl::Status check_;

  mutable std::mutex mutex_;  // guards what follows
  size_t rows_left_ = 0;
  absl::Status status_;
  StepResult result_;
  kernels::PhaseTimes batches_;  // phases of all of its batches
  absl::Duration busy_;          // of workers, with all of its batches
  absl::Duration decode_;        // of that, with fetching its rows
  absl::Time start_ = absl::InfiniteFuture();
  absl::Time end_ = absl::InfinitePast();
};

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_STEP_RUN_H_
