#include "kernels/float_activation.h"

#include <cstddef>

#include "kernels/activation.h"
#include "kernels/cpu_features.h"
#include "kernels/matrix_view.h"
#include "kernels/registry.h"
#include "kernels/tile_ops.h"

namespace octet::kernels {

void Activate(Activation activation, MatrixView<float> inout) {
  static const TileOps& ops = *SelectKernel(HostFeatures()).ops;
  for (size_t i = 0; i < inout.rows; ++i) {
    ops.activate(activation, inout.row(i), inout.cols);
  }
}

}  // namespace octet::kernels
