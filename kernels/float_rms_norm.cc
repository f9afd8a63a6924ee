#include "kernels/float_rms_norm.h"

#include <algorithm>

#include "kernels/float_companions.h"
#include "kernels/float_tasks.h"

namespace octet::kernels {
namespace {

constexpr size_t kRowsPerTask = 64;  // some 10 us: worth waking a thread for

}  // namespace

void RmsNorm(MatrixView<const float> x, absl::Span<const float> weight,
             float epsilon, MatrixView<float> y, ThreadPool* pool) {
  const FloatCompanions& companions = SelectFloatCompanions();
  const size_t tasks = (x.rows + kRowsPerTask - 1) / kRowsPerTask;
  const auto run = [&](size_t task) {
    const size_t end = std::min(x.rows, (task + 1) * kRowsPerTask);
    for (size_t m = task * kRowsPerTask; m < end; ++m) {
      companions.rms_norm({x.row(m), y.row(m), weight.data(), x.cols, epsilon});
    }
  };
  RunTasks(pool, tasks, run);
}

}  // namespace octet::kernels
