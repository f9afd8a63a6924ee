// The functions of TileOps, written once for every vector type V. Only the
// tile_ops_*.cc files include this, each with its own V, so that no two of
// them share a symbol.

#ifndef OCTET_KERNELS_TILE_OPS_BODY_H_
#define OCTET_KERNELS_TILE_OPS_BODY_H_

#include <cstddef>
#include <cstdint>

#include "kernels/activation.h"
#include "kernels/float_activation_body.h"
#include "kernels/microkernel.h"
#include "kernels/tile_ops.h"

namespace octet::kernels {

inline constexpr uint32_t kInfinityBits = 0x7f800000;

// A row of floats with filtered values as zeros.
template <typename V, bool kColumns, bool kLive>
struct FilteredRow {
  using Bits = typename V::Bits;

  const float* x;
  const uint32_t* keep;
  Bits limit;

  V Live(V value) const { return kLive ? V::ZeroFrom(value, limit) : value; }

  V Load(size_t i) const {
    const V value = V::Load(x + i);
    return kColumns ? V::And(value, V::LoadBits(keep + i)) : value;
  }
  V LoadPart(size_t i, size_t n) const {
    const V value = V::LoadPart(x + i, n);
    return kColumns ? V::And(value, V::LoadBitsPart(keep + i, n)) : value;
  }
};

template <typename V, bool kColumns, bool kLive>
RowMaxima MaximaOf(const float* x, size_t k, const RowFilter& filter) {
  using Bits = typename V::Bits;
  const FilteredRow<V, kColumns, kLive> row = {x, filter.keep,
                                               V::SetBits(filter.live_bits)};
  Bits all = V::SetBits(0);
  Bits inside = all;
  Bits kept = all;
  const auto add = [&](V raw, V value) {
    all = V::MaxBits(all, V::AbsBits(raw));
    if (kColumns) inside = V::MaxBits(inside, V::AbsBits(value));
    if (kLive) kept = V::MaxBits(kept, V::AbsBits(row.Live(value)));
  };
  size_t i = 0;
  for (; i + V::kLanes <= k; i += V::kLanes) add(V::Load(x + i), row.Load(i));
  if (i < k) add(V::LoadPart(x + i, k - i), row.LoadPart(i, k - i));
  RowMaxima maxima;
  maxima.all = V::Largest(all);
  const uint32_t largest = kColumns ? V::Largest(inside) : maxima.all;
  maxima.kept = kLive ? V::Largest(kept) : largest;
  maxima.has_live = kLive && largest >= filter.live_bits;
  return maxima;
}

template <typename V, bool kColumns, bool kLive>
void CodesOf(const float* x, size_t k, const RowFilter& filter,
             const CodeRule& rule, uint8_t* codes) {
  const FilteredRow<V, kColumns, kLive> row = {x, filter.keep,
                                               V::SetBits(filter.live_bits)};
  const V inverse = V::Set(rule.inverse);
  const V low = V::Set(rule.low);
  const V high = V::Set(rule.high);
  const auto scaled = [&](V value) {
    return V::Min(high, V::Max(low, row.Live(value) * inverse));
  };
  size_t i = 0;
  for (; i + V::kLanes <= k; i += V::kLanes) {
    scaled(row.Load(i)).StoreCodes(rule.zero_byte, codes + i);
  }
  if (i < k) {
    scaled(row.LoadPart(i, k - i))
        .StoreCodesPart(rule.zero_byte, codes + i, k - i);
  }
}

template <typename V>
RowMaxima RowMaximaOf(const float* x, size_t k, const RowFilter& filter) {
  const bool live = filter.live_bits < kInfinityBits;
  if (filter.keep != nullptr) {
    return live ? MaximaOf<V, true, true>(x, k, filter)
                : MaximaOf<V, true, false>(x, k, filter);
  }
  return live ? MaximaOf<V, false, true>(x, k, filter)
              : MaximaOf<V, false, false>(x, k, filter);
}

template <typename V>
void RowCodesOf(const float* x, size_t k, const RowFilter& filter,
                const CodeRule& rule, uint8_t* codes) {
  const bool live = filter.live_bits < kInfinityBits;
  if (filter.keep != nullptr) {
    return live ? CodesOf<V, true, true>(x, k, filter, rule, codes)
                : CodesOf<V, true, false>(x, k, filter, rule, codes);
  }
  return live ? CodesOf<V, false, true>(x, k, filter, rule, codes)
              : CodesOf<V, false, false>(x, k, filter, rule, codes);
}

// All rows of a tile advance together: one accumulator each hides the latency
// of the multiply-adds. Rows that are not there repeat the last one.
template <typename V>
void FixedOutliersOf(const FixedOutliers& tile) {
  const float* x[kMaxTileRows];
  for (size_t r = 0; r < kMaxTileRows; ++r) {
    x[r] = tile.x + (r < tile.rows ? r : tile.rows - 1) * tile.count;
  }
  for (size_t c = 0; c < tile.width; c += V::kLanes) {
    V sums[kMaxTileRows];
#pragma GCC unroll 8
    for (size_t r = 0; r < kMaxTileRows; ++r) sums[r] = V::Set(0.0F);
    for (size_t j = 0; j < tile.count; ++j) {
      const V weights = V::LoadFp16(tile.weights + j * tile.weights_stride + c);
#pragma GCC unroll 8
      for (size_t r = 0; r < kMaxTileRows; ++r) {
        sums[r] = V::Fma(V::Set(x[r][j]), weights, sums[r]);
      }
    }
#pragma GCC unroll 8
    for (size_t r = 0; r < kMaxTileRows; ++r) {
      if (r < tile.rows) sums[r].Store(tile.out + r * kMaxTileColumns + c);
    }
  }
}

template <typename V>
void LiveOutliersOf(const LiveOutliers& row) {
  for (size_t c = 0; c < row.width; c += V::kLanes) {
    const V scales = V::Load(row.scales + c);
    V sum = V::Load(row.out + c);
    for (size_t j = 0; j < row.count; ++j) {
      const size_t k = row.columns[j];
      const int8_t* group = row.panel + (k / row.kr * row.width + c) * row.kr;
      const V weights = scales * V::LoadByte(group, k % row.kr, row.kr);
      sum = V::Fma(V::Set(row.x[j]), weights, sum);
    }
    sum.Store(row.out + c);
  }
}

template <Activation kActivation, typename V>
void FinishOf(const FinishTile& t) {
  for (size_t r = 0; r < t.rows; ++r) {
    const int32_t* acc = t.acc + r * kMaxTileColumns;
    const V row_scale = V::Set(t.row_scales[r]);
    float* y = t.y + r * t.y_stride;
    for (size_t c = 0; c < t.columns; c += V::kLanes) {
      const V sum = t.acc_is_float
                        ? V::Load(reinterpret_cast<const float*>(acc + c))
                        : V::LoadInt32(acc + c);
      V value = V::Load(t.weight_scales + c) * (row_scale * sum);
      if (t.outliers != nullptr) {
        value = value + V::Load(t.outliers + r * kMaxTileColumns + c);
      }
      value = Activated<kActivation>(value + V::Load(t.bias + c));
      const size_t left = t.columns - c;
      const float* residual = t.residual == nullptr
                                  ? nullptr
                                  : t.residual + r * t.residual_stride + c;
      if (left >= V::kLanes) {
        if (residual != nullptr) value = value + V::Load(residual);
        value.Store(y + c);
      } else {
        if (residual != nullptr) value = value + V::LoadPart(residual, left);
        value.StorePart(y + c, left);
      }
    }
  }
}

template <typename V>
void FinishTileOf(const FinishTile& tile) {
  switch (tile.activation) {
    case Activation::kNone:
      return FinishOf<Activation::kNone, V>(tile);
    case Activation::kRelu:
      return FinishOf<Activation::kRelu, V>(tile);
    case Activation::kGelu:
      return FinishOf<Activation::kGelu, V>(tile);
    case Activation::kGeluTanh:
      return FinishOf<Activation::kGeluTanh, V>(tile);
    case Activation::kSilu:
      return FinishOf<Activation::kSilu, V>(tile);
    case Activation::kTanh:
      return FinishOf<Activation::kTanh, V>(tile);
  }
}

template <Activation kActivation, typename V>
void ActivateAll(float* x, size_t count) {
  size_t i = 0;
  for (; i + V::kLanes <= count; i += V::kLanes) {
    Activated<kActivation>(V::Load(x + i)).Store(x + i);
  }
  if (i < count) {
    Activated<kActivation>(V::LoadPart(x + i, count - i))
        .StorePart(x + i, count - i);
  }
}

template <typename V>
void ActivateOf(Activation activation, float* x, size_t count) {
  switch (activation) {
    case Activation::kNone:
      return;
    case Activation::kRelu:
      return ActivateAll<Activation::kRelu, V>(x, count);
    case Activation::kGelu:
      return ActivateAll<Activation::kGelu, V>(x, count);
    case Activation::kGeluTanh:
      return ActivateAll<Activation::kGeluTanh, V>(x, count);
    case Activation::kSilu:
      return ActivateAll<Activation::kSilu, V>(x, count);
    case Activation::kTanh:
      return ActivateAll<Activation::kTanh, V>(x, count);
  }
}

template <typename V>
inline constexpr TileOps kTileOpsOf = {RowMaximaOf<V>,     RowCodesOf<V>,
                                       FixedOutliersOf<V>, LiveOutliersOf<V>,
                                       FinishTileOf<V>,    ActivateOf<V>};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_TILE_OPS_BODY_H_
