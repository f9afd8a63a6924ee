// Pieces of steps for the same model that are computed together: their rows are
// put one after the other, in memory that each worker keeps, and the output's
// rows go to where their steps want them.

#ifndef OCTET_SERVER_SERVING_BATCH_H_
#define OCTET_SERVER_SERVING_BATCH_H_

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "kernels/matrix_view.h"
#include "kernels/thread_pool.h"
#include "server/serving/step_run.h"

namespace octet::serving {

struct Piece {
  std::shared_ptr<StepRun> run;
  PieceRange range;
  absl::Duration decode = absl::ZeroDuration();  // fetching its rows took
  kernels::MatrixView<float> output;             // where its rows go
};

struct BatchOptions {
  kernels::ThreadPool* pool = nullptr;
  bool allow_non_finite = false;
};

// All for one model and one kind of output; those that are not divisible stand
// alone. What nobody waits for any more is left out, and the computation stops
// between operators when that is true of all. Every piece is reported.
void RunBatch(std::vector<Piece> pieces, const BatchOptions& options);

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_BATCH_H_
