// One task of a linear call: its rows are quantized once, into the thread's
// scratch, and meet the panels one after the other.
//
//   for each panel
//     for each slice of K                   (weights now in L1)
//       for each tile of mr rows
//         dot; in the last slice also outliers and epilogue

#ifndef OCTET_KERNELS_LINEAR_TASK_H_
#define OCTET_KERNELS_LINEAR_TASK_H_

#include <cstddef>

#include "kernels/activation.h"
#include "kernels/int8_layer.h"
#include "kernels/linear_io.h"
#include "kernels/linear_partition.h"
#include "kernels/matrix_view.h"
#include "kernels/phase_clock.h"

namespace octet::kernels {

struct LinearTask {
  LinearInput x;  // the task's rows, all columns
  LinearOutput y;
  MatrixView<const float> residual;  // or data == nullptr
  Activation activation = Activation::kNone;
  Range panels = {0, 0};
  size_t first_column = 0;  // of y and the residual, where a panel begins
  size_t slice_groups = 1;
  bool by_onednn = false;  // then `panels` are whole ranges of its columns
  bool timed = false;
};

// Times are zero unless `timed`. Allocates only when a thread sees a larger
// task than ever before.
PhaseTimes RunLinearTask(const Int8Layer& layer, const LinearTask& task);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_LINEAR_TASK_H_
