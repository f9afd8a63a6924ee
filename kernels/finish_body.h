// The epilogue and the activation functions over memory, written once for
// every vector type V: finish and activate of TileOps. Included by
// tile_ops_body.h alone.

#ifndef OCTET_KERNELS_FINISH_BODY_H_
#define OCTET_KERNELS_FINISH_BODY_H_

#include <cstddef>
#include <cstdint>

#include "kernels/activation.h"
#include "kernels/element_type.h"
#include "kernels/float_activation_body.h"
#include "kernels/microkernel.h"
#include "kernels/row_ops_body.h"
#include "kernels/tile_ops.h"

namespace octet::kernels {

// Where the results go: rows of elements of one type. Everything is by value,
// so that no store can be taken for a change of it.
template <typename V, ElementType kType>
struct Output {
  V inverse;  // for codes, as the last two
  void* y;
  size_t stride;
  int32_t zero_point;
  int32_t flip;

  explicit Output(const FinishTile& t)
      : inverse(V::Set(t.y_codes.inverse)),
        y(t.y),
        stride(t.y_stride),
        zero_point(t.y_codes.zero_point),
        flip(t.y_codes.flip) {}

  template <typename T>
  T* At(size_t r, size_t c) const {
    return static_cast<T*>(y) + r * stride + c;
  }
  // NaN becomes 0: no code can say it.
  V Scaled(V v) const {
    const V number = V::ZeroFrom(v, V::SetBits(kInfinityBits + 1));
    return V::Min(V::Set(kMostCode), number * inverse);
  }

  void Store(V v, size_t r, size_t c) const {
    if constexpr (kType == ElementType::kFp32) v.Store(At<float>(r, c));
    if constexpr (kType == ElementType::kFp16) v.StoreFp16(At<uint16_t>(r, c));
    if constexpr (kType == ElementType::kBf16) v.StoreBf16(At<uint16_t>(r, c));
    if constexpr (kType == ElementType::kCode) {
      Scaled(v).StoreCodes(zero_point, flip, At<uint8_t>(r, c));
    }
  }
  void StorePart(V v, size_t r, size_t c, size_t n) const {
    if constexpr (kType == ElementType::kFp32) v.StorePart(At<float>(r, c), n);
    if constexpr (kType == ElementType::kFp16) {
      v.StoreFp16Part(At<uint16_t>(r, c), n);
    }
    if constexpr (kType == ElementType::kBf16) {
      v.StoreBf16Part(At<uint16_t>(r, c), n);
    }
    if constexpr (kType == ElementType::kCode) {
      Scaled(v).StoreCodesPart(zero_point, flip, At<uint8_t>(r, c), n);
    }
  }
  void StoreAll(const V (&v)[1], size_t r, size_t c) const {
    Store(v[0], r, c);
  }
  void StoreAll(const V (&v)[4], size_t r, size_t c) const {
    if constexpr (kType == ElementType::kCode) {
      const V scaled[4] = {Scaled(v[0]), Scaled(v[1]), Scaled(v[2]),
                           Scaled(v[3])};
      V::StoreCodes4(scaled, zero_point, flip, At<uint8_t>(r, c));
    } else {
#pragma GCC unroll 4
      for (size_t i = 0; i < 4; ++i) Store(v[i], r, c + i * V::kLanes);
    }
  }
};

// kVectors vectors of columns: their scales and biases stay in registers over
// the rows. One branch for all of them where a tile may have something or not.
template <Activation kActivation, size_t kVectors, typename V>
struct Columns {
  V scale[kVectors];
  V bias[kVectors];

  Columns(const FinishTile& t, size_t c) {
#pragma GCC unroll 4
    for (size_t i = 0; i < kVectors; ++i) {
      scale[i] = V::Load(t.weight_scales + c + i * V::kLanes);
      bias[i] = V::Load(t.bias + c + i * V::kLanes);
    }
  }

  // All but the residual, of row r from column c on.
  void Values(const FinishTile& t, size_t r, size_t c, V (&v)[kVectors]) const {
    const size_t at = r * kMaxTileColumns + c;
    const V row_scale = V::Set(t.row_scales[r]);
    LoadSums(t, at, v);
#pragma GCC unroll 4
    for (size_t i = 0; i < kVectors; ++i) v[i] = scale[i] * (row_scale * v[i]);
    if (t.outliers != nullptr) AddFrom(t.outliers + at, v);
#pragma GCC unroll 4
    for (size_t i = 0; i < kVectors; ++i) {
      v[i] = Activated<kActivation>(v[i] + bias[i]);
    }
  }

  static void LoadSums(const FinishTile& t, size_t at, V (&v)[kVectors]) {
    if (t.acc_is_float) {
      const auto* sums = reinterpret_cast<const float*>(t.acc + at);
#pragma GCC unroll 4
      for (size_t i = 0; i < kVectors; ++i)
        v[i] = V::Load(sums + i * V::kLanes);
    } else {
#pragma GCC unroll 4
      for (size_t i = 0; i < kVectors; ++i) {
        v[i] = V::LoadInt32(t.acc + at + i * V::kLanes);
      }
    }
  }

  static void AddFrom(const float* p, V (&v)[kVectors]) {
#pragma GCC unroll 4
    for (size_t i = 0; i < kVectors; ++i) {
      v[i] = v[i] + V::Load(p + i * V::kLanes);
    }
  }
};

template <Activation kActivation, ElementType kType, size_t kVectors,
          typename V>
void FinishVectors(const FinishTile& tile, size_t c) {
  using C = Columns<kActivation, kVectors, V>;
  const FinishTile t = tile;
  const C columns(t, c);
  const Output<V, kType> out(t);
  for (size_t r = 0; r < t.rows; ++r) {
    V values[kVectors];
    columns.Values(t, r, c, values);
    if (t.residual != nullptr) {
      C::AddFrom(t.residual + r * t.residual_stride + c, values);
    }
    out.StoreAll(values, r, c);
  }
}

// Less than a vector of columns.
template <Activation kActivation, ElementType kType, typename V>
void FinishPart(const FinishTile& tile, size_t c, size_t n) {
  const FinishTile t = tile;
  const Columns<kActivation, 1, V> columns(t, c);
  const Output<V, kType> out(t);
  for (size_t r = 0; r < t.rows; ++r) {
    V values[1];
    columns.Values(t, r, c, values);
    if (t.residual != nullptr) {
      values[0] =
          values[0] + V::LoadPart(t.residual + r * t.residual_stride + c, n);
    }
    out.StorePart(values[0], r, c, n);
  }
}

template <Activation kActivation, ElementType kType, typename V>
void FinishAs(const FinishTile& t) {
  size_t c = 0;
  for (; c + 4 * V::kLanes <= t.columns; c += 4 * V::kLanes) {
    FinishVectors<kActivation, kType, 4, V>(t, c);
  }
  for (; c + V::kLanes <= t.columns; c += V::kLanes) {
    FinishVectors<kActivation, kType, 1, V>(t, c);
  }
  if (c < t.columns) {
    FinishPart<kActivation, kType, V>(t, c, t.columns - c);
  }
}

template <Activation kActivation, typename V>
void FinishWith(const FinishTile& tile) {
  switch (tile.y_type) {
    case ElementType::kFp32:
      return FinishAs<kActivation, ElementType::kFp32, V>(tile);
    case ElementType::kFp16:
      return FinishAs<kActivation, ElementType::kFp16, V>(tile);
    case ElementType::kBf16:
      return FinishAs<kActivation, ElementType::kBf16, V>(tile);
    case ElementType::kCode:
      return FinishAs<kActivation, ElementType::kCode, V>(tile);
  }
}

template <typename V>
void FinishOf(const FinishTile& tile) {
  switch (tile.activation) {
    case Activation::kNone:
      return FinishWith<Activation::kNone, V>(tile);
    case Activation::kRelu:
      return FinishWith<Activation::kRelu, V>(tile);
    case Activation::kGelu:
      return FinishWith<Activation::kGelu, V>(tile);
    case Activation::kGeluTanh:
      return FinishWith<Activation::kGeluTanh, V>(tile);
    case Activation::kSilu:
      return FinishWith<Activation::kSilu, V>(tile);
    case Activation::kTanh:
      return FinishWith<Activation::kTanh, V>(tile);
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

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_FINISH_BODY_H_
