#include "kernels/float_layer_norm.h"

#include "kernels/float_companions.h"
#include "kernels/float_tasks.h"

namespace octet::kernels {

void LayerNorm(MatrixView<const float> x, absl::Span<const float> weight,
               absl::Span<const float> bias, float epsilon, MatrixView<float> y,
               ThreadPool* pool) {
  const FloatCompanions& companions = HostFloatCompanions();
  RunNormedRows(pool, x.rows, x.cols, [&](size_t begin, size_t end) {
    for (size_t m = begin; m < end; ++m) {
      companions.layer_norm(
          {x.row(m), y.row(m), weight.data(), bias.data(), x.cols, epsilon});
    }
  });
}

}  // namespace octet::kernels
