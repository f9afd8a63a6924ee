// Rows of floats on their way to codes, written once for every vector type V:
// load_row, hadamard, row_maxima and row_codes of TileOps, and the last two at
// once. Included by tile_ops_body.h alone. Even what needs no V is a template
// of it, so that every instruction set has a function of its own.

#ifndef OCTET_KERNELS_ROW_OPS_BODY_H_
#define OCTET_KERNELS_ROW_OPS_BODY_H_

#include <cstddef>
#include <cstdint>

#include "kernels/element_type.h"
#include "kernels/tile_ops.h"

namespace octet::kernels {

inline constexpr uint32_t kInfinityBits = 0x7f800000;
// Far beyond any code, and a number that int32 holds: what a product is bounded
// by before it is rounded.
inline constexpr float kMostCode = 1024.0F;

// ---- load_row

template <typename V, ElementType kType>
struct Elements {
  const void* x;

  V Load(size_t i) const {
    if constexpr (kType == ElementType::kFp16) return V::LoadFp16(Shorts(i));
    if constexpr (kType == ElementType::kBf16) return V::LoadBf16(Shorts(i));
    return V::Load(static_cast<const float*>(x) + i);
  }
  V LoadPart(size_t i, size_t n) const {
    if constexpr (kType == ElementType::kFp16) {
      return V::LoadFp16Part(Shorts(i), n);
    }
    if constexpr (kType == ElementType::kBf16) {
      return V::LoadBf16Part(Shorts(i), n);
    }
    return V::LoadPart(static_cast<const float*>(x) + i, n);
  }
  const uint16_t* Shorts(size_t i) const {
    return static_cast<const uint16_t*>(x) + i;
  }
};

template <typename V, ElementType kType>
void LoadElements(const RowInput& row, size_t k, float* out) {
  const Elements<V, kType> x = {row.x};
  const float* factors = row.factors;
  size_t i = 0;
  for (; i + V::kLanes <= k; i += V::kLanes) {
    V value = x.Load(i);
    if (factors != nullptr) value = value * V::Load(factors + i);
    value.Store(out + i);
  }
  if (i == k) return;
  V value = x.LoadPart(i, k - i);
  if (factors != nullptr) value = value * V::LoadPart(factors + i, k - i);
  value.StorePart(out + i, k - i);
}

template <typename V>
void LoadRowOf(const RowInput& row, size_t k, float* out) {
  switch (row.type) {
    case ElementType::kFp32:
      return LoadElements<V, ElementType::kFp32>(row, k, out);
    case ElementType::kFp16:
      return LoadElements<V, ElementType::kFp16>(row, k, out);
    case ElementType::kBf16:
      return LoadElements<V, ElementType::kBf16>(row, k, out);
    case ElementType::kCode:
      return;  // codes are not floats
  }
}

// ---- hadamard

// The stages inside a vector: distances 1, 2, 4, ... below its lanes.
template <typename V, size_t kDistance = 1>
inline V RotatedInside(V v) {
  if constexpr (kDistance < V::kLanes) {
    return RotatedInside<V, 2 * kDistance>(V::template Butterfly<kDistance>(v));
  }
  return v;
}

// The stages inside kVectors vectors, all of them in registers.
template <typename V, size_t kVectors>
inline void RotateVectors(float* x, V scale) {
  V v[kVectors];
#pragma GCC unroll 8
  for (size_t i = 0; i < kVectors; ++i) {
    v[i] = RotatedInside(V::Load(x + i * V::kLanes) * scale);
  }
#pragma GCC unroll 3
  for (size_t h = 1; h < kVectors; h *= 2) {
#pragma GCC unroll 8
    for (size_t i = 0; i < kVectors; ++i) {
      if ((i & h) != 0) continue;
      const V a = v[i];
      v[i] = a + v[i + h];
      v[i + h] = a - v[i + h];
    }
  }
#pragma GCC unroll 8
  for (size_t i = 0; i < kVectors; ++i) v[i].Store(x + i * V::kLanes);
}

// Blocks smaller than a vector, at the end of a row.
template <typename V>
void RotateFew(float* x, size_t block, float scale) {
  for (size_t i = 0; i < block; ++i) x[i] *= scale;
  for (size_t h = 1; h < block; h *= 2) {
    for (size_t i = 0; i < block; ++i) {
      if ((i & h) != 0) continue;
      const float a = x[i];
      const float b = x[i + h];
      x[i] = a + b;
      x[i + h] = a - b;
    }
  }
}

template <typename V>
void RotateBlock(float* x, size_t block, float scale) {
  constexpr size_t kMost = 8;  // vectors beside the constants in 16 registers
  if (block < V::kLanes) return RotateFew<V>(x, block, scale);
  const V by = V::Set(scale);
  size_t done = block;
  switch (block / V::kLanes) {
    case 1:
      return RotateVectors<V, 1>(x, by);
    case 2:
      return RotateVectors<V, 2>(x, by);
    case 4:
      return RotateVectors<V, 4>(x, by);
    default:
      done = kMost * V::kLanes;
  }
  for (size_t i = 0; i < block; i += done) RotateVectors<V, kMost>(x + i, by);
  for (size_t h = done; h < block; h *= 2) {
    for (size_t i = 0; i < block; i += 2 * h) {
      for (size_t j = i; j < i + h; j += V::kLanes) {
        const V a = V::Load(x + j);
        const V b = V::Load(x + j + h);
        (a + b).Store(x + j);
        (a - b).Store(x + j + h);
      }
    }
  }
}

// 1 / sqrt(block): a power of two, times sqrt(1/2) in FP32 or not.
template <typename V>
float OrthonormalScale(size_t block) {
  float scale = 1.0F;
  for (; block >= 4; block /= 4) scale *= 0.5F;
  return block == 2 ? scale * 0.707106781F : scale;
}

template <typename V>
void HadamardOf(float* x, size_t k, size_t block) {
  while (k > 0) {
    while (block > k) block /= 2;
    const float scale = OrthonormalScale<V>(block);
    for (; k >= block; k -= block) {
      RotateBlock<V>(x, block, scale);
      x += block;
    }
  }
}

// ---- row_maxima, row_codes, codes_and_maxima

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

// Four running maxima of each kind: one would wait for itself.
inline constexpr size_t kChains = 4;

template <typename V>
struct Maxima {
  typename V::Bits chain[kChains] = {V::SetBits(0), V::SetBits(0),
                                     V::SetBits(0), V::SetBits(0)};

  void Add(size_t i, V value) {
    chain[i] = V::MaxBits(chain[i], V::AbsBits(value));
  }
  uint32_t Largest() const {
    return V::Largest(V::MaxBits(V::MaxBits(chain[0], chain[1]),
                                 V::MaxBits(chain[2], chain[3])));
  }
};

template <typename V, bool kColumns, bool kLive>
RowMaxima MaximaOf(const float* x, size_t k, const RowFilter& filter) {
  const FilteredRow<V, kColumns, kLive> row = {x, filter.keep,
                                               V::SetBits(filter.live_bits)};
  Maxima<V> all;
  Maxima<V> inside;
  Maxima<V> kept;
  const auto add = [&](size_t chain, V raw, V value) {
    all.Add(chain, raw);
    if (kColumns) inside.Add(chain, value);
    if (kLive) kept.Add(chain, row.Live(value));
  };
  size_t i = 0;
  for (; i + kChains * V::kLanes <= k; i += kChains * V::kLanes) {
#pragma GCC unroll 4
    for (size_t j = 0; j < kChains; ++j) {
      const size_t at = i + j * V::kLanes;
      add(j, V::Load(x + at), row.Load(at));
    }
  }
  for (; i + V::kLanes <= k; i += V::kLanes) {
    add(0, V::Load(x + i), row.Load(i));
  }
  if (i < k) add(0, V::LoadPart(x + i, k - i), row.LoadPart(i, k - i));
  RowMaxima maxima;
  maxima.all = all.Largest();
  const uint32_t largest = kColumns ? inside.Largest() : maxima.all;
  maxima.kept = kLive ? kept.Largest() : largest;
  maxima.has_live = kLive && largest >= filter.live_bits;
  return maxima;
}

template <typename V, bool kColumns, bool kLive, bool kSymmetric>
void CodesOf(const float* x, size_t k, const RowFilter& filter,
             const CodeRule& rule, uint8_t* codes) {
  const FilteredRow<V, kColumns, kLive> row = {x, filter.keep,
                                               V::SetBits(filter.live_bits)};
  const V inverse = V::Set(rule.inverse);
  const V most = V::Set(kMostCode);
  const int32_t zero_point = rule.zero_point;
  const int32_t flip = rule.flip;
  const auto scaled = [&](V value) {
    const V product = row.Live(value) * inverse;
    return kSymmetric ? product : V::Min(most, product);
  };
  size_t i = 0;
  for (; i + 4 * V::kLanes <= k; i += 4 * V::kLanes) {
    V values[4];
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; ++j) {
      values[j] = scaled(row.Load(i + j * V::kLanes));
    }
    if constexpr (kSymmetric) {
      V::StoreSigned4(values, zero_point ^ flip, codes + i);
    } else {
      V::StoreCodes4(values, zero_point, flip, codes + i);
    }
  }
  for (; i + V::kLanes <= k; i += V::kLanes) {
    scaled(row.Load(i)).StoreCodes(zero_point, flip, codes + i);
  }
  if (i < k) {
    scaled(row.LoadPart(i, k - i))
        .StoreCodesPart(zero_point, flip, codes + i, k - i);
  }
}

inline constexpr size_t kLineFloats = 16;
// Rows to come: 2 KiB ahead of where one is measured, L2 and L3 are read a
// tenth faster on Zen 5 than its prefetchers do.
inline constexpr size_t kFloatsAhead = 512;

// Lanes from the last place where a vector is aligned to x: loads from aligned
// places are a third faster on Zen 5 than loads that cross lines.
template <typename V>
ptrdiff_t LanesPastAlignment(const float* x) {
  return static_cast<ptrdiff_t>(reinterpret_cast<uintptr_t>(x) / sizeof(float) %
                                V::kLanes);
}

// Codes that need no filter, and what RowMaximaOf says of the next row: one
// loop reads memory and computes at once. Blocks are aligned but for the first
// and the last, which overlap their neighbours and say the same again.
template <typename V, bool kSymmetric>
RowMaxima CodesAndMaximaBy(const float* x, size_t k, const CodeRule& rule,
                           uint8_t* codes, const float* next) {
  constexpr ptrdiff_t kBlock = kChains * V::kLanes;
  const auto last = static_cast<ptrdiff_t>(k) - kBlock;
  if (last < 0) {
    CodesOf<V, false, false, kSymmetric>(x, k, {}, rule, codes);
    return MaximaOf<V, false, false>(next, k, {});
  }
  const V inverse = V::Set(rule.inverse);
  const V most = V::Set(kMostCode);
  const int32_t zero_point = rule.zero_point;
  const int32_t flip = rule.flip;
  Maxima<V> all;
  const auto block = [&](ptrdiff_t i, ptrdiff_t next_i) {
#pragma GCC unroll 4
    for (ptrdiff_t line = 0; line < kBlock; line += kLineFloats) {
      __builtin_prefetch(next + next_i + kFloatsAhead + line);
    }
    V values[kChains];
#pragma GCC unroll 4
    for (size_t j = 0; j < kChains; ++j) {
      all.Add(j, V::Load(next + next_i + j * V::kLanes));
      values[j] = V::Load(x + i + j * V::kLanes) * inverse;
      if (!kSymmetric) values[j] = V::Min(most, values[j]);
    }
    if constexpr (kSymmetric) {
      V::StoreSigned4(values, zero_point ^ flip, codes + i);
    } else {
      V::StoreCodes4(values, zero_point, flip, codes + i);
    }
  };
  const ptrdiff_t past = LanesPastAlignment<V>(x);
  const ptrdiff_t next_past = LanesPastAlignment<V>(next);
  ptrdiff_t i = 0;
  if ((past | next_past) != 0) {
    block(0, 0);
    i = kBlock - past;
  }
  const ptrdiff_t shift = past - next_past;
  const ptrdiff_t end = shift < 0 ? last : last - shift;
  for (; i <= end; i += kBlock) block(i, i + shift);
  const ptrdiff_t next_i = i + shift;
  if (i < last) block(i, last);
  if (next_i < last) block(last, next_i);
  if (i < k || next_i < k) block(last, last);
  const uint32_t largest = all.Largest();
  return {.all = largest, .kept = largest};
}

template <typename V>
RowMaxima CodesAndMaximaOf(const float* x, size_t k, const CodeRule& rule,
                           uint8_t* codes, const float* next) {
  return rule.symmetric ? CodesAndMaximaBy<V, true>(x, k, rule, codes, next)
                        : CodesAndMaximaBy<V, false>(x, k, rule, codes, next);
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

template <typename V, bool kColumns, bool kLive>
void CodesBy(const float* x, size_t k, const RowFilter& filter,
             const CodeRule& rule, uint8_t* codes) {
  rule.symmetric
      ? CodesOf<V, kColumns, kLive, true>(x, k, filter, rule, codes)
      : CodesOf<V, kColumns, kLive, false>(x, k, filter, rule, codes);
}

template <typename V>
void RowCodesOf(const float* x, size_t k, const RowFilter& filter,
                const CodeRule& rule, uint8_t* codes) {
  const bool live = filter.live_bits < kInfinityBits;
  if (filter.keep != nullptr) {
    return live ? CodesBy<V, true, true>(x, k, filter, rule, codes)
                : CodesBy<V, true, false>(x, k, filter, rule, codes);
  }
  return live ? CodesBy<V, false, true>(x, k, filter, rule, codes)
              : CodesBy<V, false, false>(x, k, filter, rule, codes);
}

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_ROW_OPS_BODY_H_
