// The functions of TileOps, written once for every vector type V. Only the
// tile_ops_*.cc files include this, each with its own V, so that no two of
// them share a symbol.

#ifndef OCTET_KERNELS_TILE_OPS_BODY_H_
#define OCTET_KERNELS_TILE_OPS_BODY_H_

#include <cstddef>
#include <cstdint>

#include "kernels/finish_body.h"
#include "kernels/microkernel.h"
#include "kernels/row_ops_body.h"
#include "kernels/tile_ops.h"

namespace octet::kernels {

// All rows of a tile advance together: one accumulator each hides the latency
// of the multiply-adds. Rows of kRows that are not there repeat the last.
template <typename V, size_t kRows>
void FixedOutliersOfRows(const FixedOutliers& tile) {
  const float* x[kRows];
  for (size_t r = 0; r < kRows; ++r) {
    x[r] = tile.x + (r < tile.rows ? r : tile.rows - 1) * tile.count;
  }
  for (size_t c = 0; c < tile.width; c += V::kLanes) {
    V sums[kRows];
#pragma GCC unroll 8
    for (size_t r = 0; r < kRows; ++r) sums[r] = V::Set(0.0F);
    for (size_t j = 0; j < tile.count; ++j) {
      const V weights = V::LoadFp16(tile.weights + j * tile.weights_stride + c);
#pragma GCC unroll 8
      for (size_t r = 0; r < kRows; ++r) {
        sums[r] = V::Fma(V::Set(x[r][j]), weights, sums[r]);
      }
    }
#pragma GCC unroll 8
    for (size_t r = 0; r < kRows; ++r) {
      if (r < tile.rows) sums[r].Store(tile.out + r * kMaxTileColumns + c);
    }
  }
}

template <typename V>
void FixedOutliersOf(const FixedOutliers& tile) {
  static_assert(kMaxTileRows == 8);
  if (tile.rows == 1) return FixedOutliersOfRows<V, 1>(tile);
  if (tile.rows <= 4) return FixedOutliersOfRows<V, 4>(tile);
  if (tile.rows <= 6) return FixedOutliersOfRows<V, 6>(tile);
  FixedOutliersOfRows<V, 8>(tile);
}

template <typename V>
void LiveOutliersOf(const LiveOutliers& row) {
  for (size_t c = 0; c < row.width; c += V::kLanes) {
    V sum = V::Load(row.out + c);
    for (size_t j = 0; j < row.count; ++j) {
      const size_t k = row.columns[j];
      const int8_t* group = row.panel + (k / row.kr * row.width + c) * row.kr;
      const float* scales =
          row.scales + k / row.group_size * row.scales_stride + c;
      const V weights = V::Load(scales) * V::LoadByte(group, k % row.kr, row.kr,
                                                      row.weight_offset);
      sum = V::Fma(V::Set(row.x[j]), weights, sum);
    }
    sum.Store(row.out + c);
  }
}

template <typename V>
void AddGroupOf(const GroupTile& t) {
  for (size_t r = 0; r < t.rows; ++r) {
    const int32_t* acc = t.acc + r * kMaxTileColumns;
    float* sums = t.sums + r * kMaxTileColumns;
    for (size_t c = 0; c < t.width; c += V::kLanes) {
      const V before = t.first ? V::Set(0.0F) : V::Load(sums + c);
      V::Fma(V::Load(t.scales + c), V::LoadInt32(acc + c), before)
          .Store(sums + c);
    }
  }
}

template <typename V>
inline constexpr TileOps kTileOpsOf = {
    LoadRowOf<V>,        HadamardOf<V>,      RowMaximaOf<V>,    RowCodesOf<V>,
    CodesAndMaximaOf<V>, FixedOutliersOf<V>, LiveOutliersOf<V>, AddGroupOf<V>,
    FinishOf<V>,         ActivateOf<V>};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_TILE_OPS_BODY_H_
