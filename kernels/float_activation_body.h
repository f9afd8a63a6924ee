// The activation functions, written once for every vector type V.
//
//   exp(x)   2^n * p(r), n = round(x / ln 2), r = x - n ln 2 in two steps
//   gelu(x)  max(x, 0) - h(|x|),  h(a) = a * Q(a), Q the normal tail as
//            R(a)^8: its 8th root is so smooth that degree 8 reaches FP32's
//            precision, without exp and without a division
//   gelu_tanh(x)  likewise, Q(a) = sigmoid(-2 sqrt(2/pi) (a + 0.044715 a^3)),
//            as R(a)^4
//   silu(x)  x * sigmoid(x), as x / (1 + exp(-x))
//   tanh(x)  an odd polynomial below 0.625, else 1 - 2 / (exp(2|x|) + 1)
//
// The polynomials of exp and tanh are Cephes' (expf, tanhf). Those of R are
// weighted minimax fits; with rounding, h is within 1.2e-7 (gelu) and 2e-7
// (gelu_tanh) of the exact value. A table of polynomials by segments of x would
// need a lookup per coefficient, more work than the whole of R.

#ifndef OCTET_KERNELS_FLOAT_ACTIVATION_BODY_H_
#define OCTET_KERNELS_FLOAT_ACTIVATION_BODY_H_

#include <cstddef>

#include "kernels/activation.h"

namespace octet::kernels {

// c[0] + x (c[1] + x (c[2] + ...))
template <typename V, size_t kCount>
inline V Polynomial(V x, const float (&c)[kCount]) {
  V sum = V::Set(c[kCount - 1]);
  for (size_t i = kCount - 1; i > 0; --i) {
    sum = V::Fma(sum, x, V::Set(c[i - 1]));
  }
  return sum;
}

// x in [-87, 88]; NaN passes.
template <typename V>
inline V Exp(V x) {
  constexpr float kTaylor[] = {5.0000001201e-1F, 1.6666665459e-1F,
                               4.1665795894e-2F, 8.3334519073e-3F,
                               1.3981999507e-3F, 1.9875691500e-4F};
  const V round = V::Set(12582912.0F);  // 1.5 * 2^23: the sum rounds to even
  const V shifted = V::Fma(x, V::Set(1.44269504F), round);
  const V n = shifted - round;
  V r = V::Fma(n, V::Set(-0.693359375F), x);
  r = V::Fma(n, V::Set(2.12194440e-4F), r);
  const V p = V::Fma(Polynomial(r, kTaylor), r * r, r) + V::Set(1.0F);
  return p * V::PowerOfTwo(shifted);
}

template <typename V>
inline V Relu(V x) {
  return V::Max(V::Set(0.0F), x);
}

// max(x, 0) - h(|x|), where h(a) = a * R(a)^kPower. R is good up to `last`,
// where h is below 1e-11 and stays, but no power underflows (subnormal numbers
// are slow). NaN must pass the minimum.
template <size_t kPower, typename V, size_t kCount>
inline V ReluLessTail(V x, const float (&root)[kCount], float last) {
  const V a = V::Min(V::Set(last), V::Abs(x));
  V tail = Polynomial(a, root);
  for (size_t power = 1; power < kPower; power *= 2) tail = tail * tail;
  return Relu(x) - a * tail;
}

template <typename V>
inline V Gelu(V x) {
  constexpr float kRoot[] = {
      0.917003989F,     -0.0914572775F,  -0.0319286734F,
      -0.000670714653F, 0.00150298281F,  3.51599992e-05F,
      -6.05626519e-05F, 7.53571658e-06F, -3.00064812e-07F};
  return ReluLessTail<8>(x, kRoot, 7.0F);
}

template <typename V>
inline V GeluTanh(V x) {
  constexpr float kRoot[] = {0.840894163F,    -0.167687669F,   -0.0505008735F,
                             0.0057324036F,   0.00223885151F,  0.00162948109F,
                             -0.00141170004F, 0.000449861021F, -7.69689432e-05F,
                             6.94612754e-06F, -2.58293852e-07F};
  return ReluLessTail<4>(x, kRoot, 6.0F);
}

template <typename V>
inline V Silu(V x) {
  const V low = V::Max(V::Set(-87.0F), x);
  const V bounded = V::Min(V::Set(87.0F), low);
  return low / (V::Set(1.0F) + Exp(V::Set(0.0F) - bounded));
}

template <typename V>
inline V Tanh(V x) {
  constexpr float kOdd[] = {-3.33332819422e-1F, 1.33314422036e-1F,
                            -5.37397155531e-2F, 2.06390887954e-2F,
                            -5.70498872745e-3F};
  const V a = V::Abs(x);
  const V square = a * a;
  const V small = V::Fma(Polynomial(square, kOdd) * square, a, a);
  const V bounded = V::Min(V::Set(10.0F), a);
  const V one = V::Set(1.0F);
  const V large = one - V::Set(2.0F) / (Exp(bounded + bounded) + one);
  return V::CopySign(V::IfLess(a, V::Set(0.625F), small, large), x);
}

template <Activation kActivation, typename V>
inline V Activated(V x) {
  if constexpr (kActivation == Activation::kRelu) return Relu(x);
  if constexpr (kActivation == Activation::kGelu) return Gelu(x);
  if constexpr (kActivation == Activation::kGeluTanh) return GeluTanh(x);
  if constexpr (kActivation == Activation::kSilu) return Silu(x);
  if constexpr (kActivation == Activation::kTanh) return Tanh(x);
  return x;
}

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_FLOAT_ACTIVATION_BODY_H_
