// One tile of a product whose weights have a scale per group of K: by the
// kernel itself where it can keep the sums in registers, else group by group
// through a tile in L1, with the same bits.

#ifndef OCTET_KERNELS_GROUPED_DOT_H_
#define OCTET_KERNELS_GROUPED_DOT_H_

#include "kernels/microkernel.h"
#include "kernels/registry.h"

namespace octet::kernels {

void DotGrouped(const Kernel& kernel, const GroupedTile& tile);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_GROUPED_DOT_H_
