// The table of microkernels, and which one a CPU runs.

#ifndef OCTET_KERNELS_REGISTRY_H_
#define OCTET_KERNELS_REGISTRY_H_

#include <cstddef>
#include <string_view>

#include "absl/types/span.h"
#include "kernels/cpu_features.h"
#include "kernels/microkernel.h"
#include "kernels/tile_ops.h"

namespace octet::kernels {

struct Kernel {
  std::string_view name;  // grammar in kernels/README.md
  Isa isa = Isa::kScalar;
  bool scales = false;           // can write ScaledOutput
  bool scales_outliers = false;  // with outliers, too
  int32_t code_offset = 0;       // taken off a code before it becomes a byte
  size_t mr = 1;                 // rows of a tile
  size_t nr = 1;                 // columns of a panel
  size_t nr_step = 1;     // the last panel is as wide as needed, in these steps
  size_t kr = 4;          // consecutive k of a column that lie together
  size_t code_bytes = 1;  // of a code of a row; 2: widened for the kernel
  // Multiply-adds of one core at full speed, as most CPUs with this ISA have
  // it. Says what work is worth sharing, so a factor of two does not matter.
  size_t products_per_cycle = 1;
  DotFunction dot = nullptr;
  const TileOps* ops = nullptr;  // quantize, outliers, epilogue on this ISA
  GroupedDotFunction dot_grouped = nullptr;  // or dot and ops->add_group do it
  size_t few_rows = 0;  // above mr: `dot` takes so many where they are all
  size_t grouped_few_rows = 0;  // that pass over dot_grouped's panel once
  // Codes come in safe pairs, weights with 128 added, and K in one part.
  SplitRowFunction split_row = nullptr;

  int32_t weight_offset() const {
    return split_row == nullptr ? 0 : kSafePairsWeightOffset;
  }
  // Codes as they are, u8.
  bool takes_u8() const {
    return code_offset == 0 && code_bytes == 1 && split_row == nullptr;
  }

  // Tiles that `dot` is called with for rows of one block.
  size_t TilesOf(size_t rows) const {
    return rows <= few_rows ? 1 : (rows + mr - 1) / mr;
  }

  // Whether rows of one block pass over a panel once. Others share slices of K,
  // which the first pass brings into the caches.
  bool PassesOnce(size_t rows, bool grouped) const {
    if (!grouped) return TilesOf(rows) == 1;
    return rows <= (dot_grouped == nullptr ? mr : grouped_few_rows);
  }
};

// Every kernel of this build, slowest first.
absl::Span<const Kernel> Kernels();

// The fastest kernel whose features are all present.
const Kernel& SelectKernel(const CpuFeatures& features);

// `kernel`, or where it needs K in one part and K has several, as with groups
// or beyond what int32 holds, the fastest of its ISA that does not.
const Kernel& KernelForParts(const Kernel& kernel);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_REGISTRY_H_
