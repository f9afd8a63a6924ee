// 7 and 8 rows, where a call has no more, by a kernel's function for 4: in
// slices of K that its second walk finds in L1, with the sums in memory between
// slices. Each walk asks for half of a slice, more than one slice ahead, so
// that memory keeps its pace whatever is multiplied.
//
// Both walks are the same code, which may find one row less than 4 in the
// second. CPUs tell streams apart by the address of the load: the walks of one
// function go back at every slice, which leaves the stream to our own requests,
// but those of two functions look like two streams without end, which are then
// read ahead beside them. 8 x 4096 x 22016 takes 1.2 times as long so on Zen 5.

#ifndef OCTET_KERNELS_DOT_IN_HALVES_H_
#define OCTET_KERNELS_DOT_IN_HALVES_H_

#include <cstddef>

#include "kernels/microkernel.h"

namespace octet::kernels {

inline constexpr size_t kHalfRows = 4;
// Of Into::kL2ThenL1: bytes between what goes into L2 and what into L1.
inline constexpr size_t kHalvesEarlier = 20480;

// `dot` takes kHalfRows rows or one less, and asks for two lines at each group
// of k. Codes are bytes. Of tile.prefetch, only `into` is looked at, which
// `dot` has to be made for.
void DotInHalves(DotFunction dot, size_t kr, const DotTile& tile);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_DOT_IN_HALVES_H_
