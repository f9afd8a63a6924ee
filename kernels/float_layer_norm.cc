#include "kernels/float_layer_norm.h"

#include <algorithm>

#include "kernels/float_companions.h"
#include "kernels/float_tasks.h"

namespace octet::kernels {
namespace {

constexpr size_t kRowsPerTask = 64;  // some 10 us: worth waking a thread for

}  // namespace

void LayerNorm(MatrixView<const float> x, absl::Span<const float> weight,
               absl::Span<const float> bias, float epsilon, MatrixView<float> y,
               ThreadPool* pool) {
  const FloatCompanions& companions = SelectFloatCompanions();
  const size_t tasks = (x.rows + kRowsPerTask - 1) / kRowsPerTask;
  const auto run = [&](size_t task) {
    const size_t end = std::min(x.rows, (task + 1) * kRowsPerTask);
    for (size_t m = task * kRowsPerTask; m < end; ++m) {
      companions.layer_norm(
          {x.row(m), y.row(m), weight.data(), bias.data(), x.cols, epsilon});
    }
  };
  RunTasks(pool, tasks, run);
}

}  // namespace octet::kernels
