#include "kernels/hadamard.h"

#include <bit>
#include <cstddef>

#include "kernels/cpu_features.h"
#include "kernels/matrix_view.h"
#include "kernels/registry.h"
#include "kernels/tile_ops.h"

namespace octet::kernels {

bool IsHadamardBlock(size_t block) {
  return std::has_single_bit(block) && block >= 2 && block <= kMaxHadamardBlock;
}

void RotateRows(MatrixView<float> inout, size_t block) {
  static const TileOps& ops = *SelectKernel(HostFeatures()).ops;
  for (size_t i = 0; i < inout.rows; ++i) {
    ops.hadamard(inout.row(i), inout.cols, block);
  }
}

}  // namespace octet::kernels
