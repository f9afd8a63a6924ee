#include "server/quantization/methods/compensations.h"

#include <utility>

#include "kernels/status_macros.h"
#include "server/quantization/methods/input_transform.h"

namespace octet::quantization {

absl::StatusOr<const ErrorCompensation*> Compensations::For(
    kernels::MatrixView<const float> rows, const LayerPlan& plan,
    kernels::ThreadPool* pool) {
  Key key = {.rows = rows.data,
             .count = rows.rows,
             .smoothing = plan.smoothing,
             .outlier_columns = plan.outlier_columns,
             .hadamard_block = plan.scheme.hadamard_block};
  if (last_ && key == key_) return &*last_;
  last_.reset();  // its memory is for the next one
  const std::vector<float> x = TransformedInputs(plan, rows);
  ASSIGN_OR_RETURN(last_,
                   ErrorCompensation::Create({x.data(), rows.rows, rows.cols},
                                             kGptqDamping, pool, cancelled_));
  key_ = std::move(key);
  ++made_;
  return &*last_;
}

}  // namespace octet::quantization
