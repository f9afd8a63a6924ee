// One tile of a product whose weights have a scale per group of K: by the
// kernel itself where it can keep the sums in registers, else group by group
// through a tile in L1, with the same bits.
//
// The kernel of AVX512-VNNI passes over a panel twice where there are more than
// grouped_few_rows, for lack of registers. From memory, three to six rows are
// faster group by group, in one pass: half of the time on Zen 4.

#ifndef OCTET_KERNELS_GROUPED_DOT_H_
#define OCTET_KERNELS_GROUPED_DOT_H_

#include "kernels/microkernel.h"
#include "kernels/registry.h"

namespace octet::kernels {

void DotGrouped(const Kernel& kernel, const GroupedTile& tile);
void DotGroupByGroup(const Kernel& kernel, const GroupedTile& tile);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_GROUPED_DOT_H_
