#include "kernels/float_rms_norm.h"

#include "kernels/float_companions.h"
#include "kernels/float_tasks.h"

namespace octet::kernels {

void RmsNorm(MatrixView<const float> x, absl::Span<const float> weight,
             float epsilon, MatrixView<float> y, ThreadPool* pool) {
  const FloatCompanions& companions = HostFloatCompanions();
  RunNormedRows(pool, x.rows, x.cols, [&](size_t begin, size_t end) {
    for (size_t m = begin; m < end; ++m) {
      companions.rms_norm({x.row(m), y.row(m), weight.data(), x.cols, epsilon});
    }
  });
}

}  // namespace octet::kernels
