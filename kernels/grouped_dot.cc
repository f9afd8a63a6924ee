#include "kernels/grouped_dot.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/microkernel.h"
#include "kernels/registry.h"
#include "kernels/tile_ops.h"

namespace octet::kernels {

void DotGrouped(const Kernel& kernel, const GroupedTile& tile) {
  kernel.dot_grouped == nullptr ? DotGroupByGroup(kernel, tile)
                                : kernel.dot_grouped(tile);
}

void DotGroupByGroup(const Kernel& kernel, const GroupedTile& tile) {
  alignas(64) int32_t acc[kMaxTileRows * kMaxTileColumns];
  size_t at = 0;
  for (size_t g = 0; g < tile.groups; g += tile.scale_groups) {
    Prefetch prefetch = tile.prefetch;
    prefetch.from += g * prefetch.step;
    kernel.dot({.a = tile.a + g * kernel.kr * kernel.code_bytes,
                .a_stride = tile.a_stride,
                .b = tile.b + g * tile.width * kernel.kr,
                .groups = std::min(tile.scale_groups, tile.groups - g),
                .seed = tile.seeds + at,
                .acc = acc,
                .rows = tile.rows,
                .width = tile.width,
                .prefetch = prefetch});
    kernel.ops->add_group({.acc = acc,
                           .scales = tile.scales + at,
                           .sums = tile.sums,
                           .rows = tile.rows,
                           .width = tile.width,
                           .first = tile.first && g == 0});
    at += tile.scale_stride;
  }
}

}  // namespace octet::kernels
