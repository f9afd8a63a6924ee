#include "kernels/dot_in_halves.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/microkernel.h"

namespace octet::kernels {
namespace {

// Shorter slices move the sums more often: 2 % for weights in L2. Longer ones
// crowd L1: 3 % for weights in memory.
constexpr size_t kSliceGroups = 48;
constexpr size_t kAhead = 16384;
constexpr size_t kLine = 64;

ScaledOutput LowerHalf(ScaledOutput out) {
  out.row_scales += kHalfRows;
  out.y += kHalfRows * out.y_stride;
  if (out.residual != nullptr) out.residual += kHalfRows * out.residual_stride;
  return out;
}

DotTile LowerHalf(DotTile tile) {
  tile.a += kHalfRows * tile.a_stride;
  tile.seed += kHalfRows * tile.seed_stride;
  tile.acc += kHalfRows * kMaxTileColumns;
  tile.rows -= kHalfRows;
  return tile;
}

DotTile Slice(const DotTile& half, size_t kr, size_t begin, size_t end) {
  const size_t group_bytes = half.width * kr;
  DotTile slice = half;
  slice.a += begin * kr;
  slice.b += begin * group_bytes;
  slice.groups = end - begin;
  if (begin > 0) {
    slice.seed = half.acc;
    slice.seed_stride = kMaxTileColumns;
  }
  if (end < half.groups) slice.scaled = nullptr;
  slice.prefetch = {slice.b + kAhead, group_bytes / 2, kLine};
  return slice;
}

}  // namespace

void DotInHalves(DotFunction dot, size_t kr, const DotTile& tile) {
  DotTile upper = tile;
  upper.rows = kHalfRows;
  DotTile lower = LowerHalf(tile);
  ScaledOutput scaled;
  if (tile.scaled != nullptr) {
    scaled = LowerHalf(*tile.scaled);
    lower.scaled = &scaled;
  }
  for (size_t begin = 0; begin < tile.groups; begin += kSliceGroups) {
    const size_t end = std::min(begin + kSliceGroups, tile.groups);
    dot(Slice(upper, kr, begin, end));
    DotTile second = Slice(lower, kr, begin, end);
    second.prefetch.from += second.groups * second.prefetch.step;
    dot(second);
  }
}

}  // namespace octet::kernels
