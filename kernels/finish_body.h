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

// Where the results go: rows of elements of one type.
template <typename V, ElementType kType>
struct Output {
  const FinishTile& t;

  template <typename T>
  T* At(size_t r, size_t c) const {
    return static_cast<T*>(t.y) + r * t.y_stride + c;
  }
  // As the codes' own units; NaN is where no code can say so.
  V Scaled(V v) const {
    const V number = V::ZeroFrom(v, V::SetBits(kInfinityBits + 1));
    return V::Min(V::Set(kMostCode), number * V::Set(t.y_codes.inverse));
  }

  void Store(V v, size_t r, size_t c) const {
    if constexpr (kType == ElementType::kFp32) v.Store(At<float>(r, c));
    if constexpr (kType == ElementType::kFp16) v.StoreFp16(At<uint16_t>(r, c));
    if constexpr (kType == ElementType::kBf16) v.StoreBf16(At<uint16_t>(r, c));
    if constexpr (kType == ElementType::kCode) {
      Scaled(v).StoreCodes(t.y_codes.zero_point, t.y_codes.flip,
                           At<uint8_t>(r, c));
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
      Scaled(v).StoreCodesPart(t.y_codes.zero_point, t.y_codes.flip,
                               At<uint8_t>(r, c), n);
    }
  }
};

// One vector of columns: its scales and biases stay in registers over the rows.
template <Activation kActivation, typename V>
struct Columns {
  V scale;
  V bias;

  Columns(const FinishTile& t, size_t c)
      : scale(V::Load(t.weight_scales + c)), bias(V::Load(t.bias + c)) {}

  // All but the residual.
  V Value(const FinishTile& t, V row_scale, size_t r, size_t c) const {
    const int32_t* acc = t.acc + r * kMaxTileColumns + c;
    const V sum = t.acc_is_float ? V::Load(reinterpret_cast<const float*>(acc))
                                 : V::LoadInt32(acc);
    V value = scale * (row_scale * sum);
    if (t.outliers != nullptr) {
      value = value + V::Load(t.outliers + r * kMaxTileColumns + c);
    }
    return Activated<kActivation>(value + bias);
  }
};

template <Activation kActivation, ElementType kType, typename V>
void FinishFourVectors(const FinishTile& t, size_t c) {
  constexpr size_t kL = V::kLanes;
  using C = Columns<kActivation, V>;
  const C columns[4] = {C(t, c), C(t, c + kL), C(t, c + 2 * kL),
                        C(t, c + 3 * kL)};
  const Output<V, kType> out = {t};
  for (size_t r = 0; r < t.rows; ++r) {
    const V row_scale = V::Set(t.row_scales[r]);
    const float* residual = t.residual + r * t.residual_stride + c;
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; ++i) {
      V value = columns[i].Value(t, row_scale, r, c + i * kL);
      if (t.residual != nullptr) value = value + V::Load(residual + i * kL);
      out.Store(value, r, c + i * kL);
    }
  }
}

template <Activation kActivation, ElementType kType, typename V>
void FinishVector(const FinishTile& t, size_t c) {
  const Columns<kActivation, V> columns(t, c);
  const Output<V, kType> out = {t};
  for (size_t r = 0; r < t.rows; ++r) {
    V value = columns.Value(t, V::Set(t.row_scales[r]), r, c);
    if (t.residual != nullptr) {
      value = value + V::Load(t.residual + r * t.residual_stride + c);
    }
    out.Store(value, r, c);
  }
}

template <Activation kActivation, ElementType kType, typename V>
void FinishPart(const FinishTile& t, size_t c, size_t n) {
  const Columns<kActivation, V> columns(t, c);
  const Output<V, kType> out = {t};
  for (size_t r = 0; r < t.rows; ++r) {
    V value = columns.Value(t, V::Set(t.row_scales[r]), r, c);
    if (t.residual != nullptr) {
      value = value + V::LoadPart(t.residual + r * t.residual_stride + c, n);
    }
    out.StorePart(value, r, c, n);
  }
}

template <Activation kActivation, ElementType kType, typename V>
void FinishAs(const FinishTile& t) {
  size_t c = 0;
  for (; c + 4 * V::kLanes <= t.columns; c += 4 * V::kLanes) {
    FinishFourVectors<kActivation, kType, V>(t, c);
  }
  for (; c + V::kLanes <= t.columns; c += V::kLanes) {
    FinishVector<kActivation, kType, V>(t, c);
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
