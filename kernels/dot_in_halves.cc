#include "kernels/dot_in_halves.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/microkernel.h"

namespace octet::kernels {
namespace {

struct Pace {
  size_t slice_groups;
  size_t ahead;  // bytes
};

// Shorter slices move the sums more often: 2 % for weights in L2. Longer ones
// crowd L1, the more so with what was asked for: on Zen 5, 3 % for weights in
// memory. The other two are Zen 4's, where 128 groups would leave L1.
Pace PaceOf(Into into) {
  switch (into) {
    case Into::kL1:
      return {48, 16384};
    case Into::kL2:
      return {96, 32768};
    case Into::kL2ThenL1:
      return {64, 32768};
  }
  return {};
}

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

// One half, and what becomes of its sums at the end of K.
struct Walk {
  DotTile tile;
  const ScaledOutput* scaled;

  void Past(size_t groups, size_t kr) {
    tile.a += groups * kr;
    tile.b += groups * tile.width * kr;
    tile.seed = tile.acc;
    tile.seed_stride = kMaxTileColumns;
  }
};

}  // namespace

void DotInHalves(DotFunction dot, size_t kr, const DotTile& tile) {
  ScaledOutput lower_scaled;
  if (tile.scaled != nullptr) lower_scaled = LowerHalf(*tile.scaled);
  Walk walks[] = {
      {tile, tile.scaled},
      {LowerHalf(tile), tile.scaled == nullptr ? nullptr : &lower_scaled}};
  walks[0].tile.rows = kHalfRows;
  const Pace pace = PaceOf(tile.prefetch.into);
  const size_t step = tile.width * kr / 2;
  const int8_t* soon = tile.b + pace.ahead;
  for (size_t left = tile.groups; left > 0;) {
    const size_t groups = std::min(pace.slice_groups, left);
    left -= groups;
    for (Walk& walk : walks) {
      walk.tile.groups = groups;
      walk.tile.scaled = left == 0 ? walk.scaled : nullptr;
      walk.tile.prefetch = {soon, step, kLine};
      dot(walk.tile);
      walk.Past(groups, kr);
      soon += groups * step;
    }
  }
}

}  // namespace octet::kernels
