// The activation functions, written once for every vector type V.
//
//   exp(x)   2^n * p(r), n = round(x / ln 2), r = x - n ln 2 in two steps
//   gelu(x)  max(x, 0) - h(|x|),  h(a) = a * Q(a), Q the normal tail,
//            Q(a) = exp(-a^2 / 2) * R(a), R a polynomial on [0, 6]
//   silu, gelu_tanh   x * sigmoid(.), as x / (1 + exp(-.))
//   tanh(x)  an odd polynomial below 0.625, else 1 - 2 / (exp(2|x|) + 1)
//
// The polynomials of exp and tanh are Cephes' (expf, tanhf); that of R is a
// weighted minimax fit, error of h under 5e-8.

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

template <typename V>
inline V Gelu(V x) {
  constexpr float kScaledTail[] = {0.5F,
                                   -0.398933828F,
                                   0.249897242F,
                                   -0.132488981F,
                                   0.0612330399F,
                                   -0.024585804F,
                                   0.00829406083F,
                                   -0.00222592661F,
                                   0.000444368517F,
                                   -6.07160691e-05F,
                                   4.99527641e-06F,
                                   -1.84852141e-07F};
  // exp(-13^2 / 2) is still a normal number; NaN must pass the minimum.
  const V a = V::Min(V::Set(13.0F), V::Abs(x));
  const V tail = Polynomial(V::Min(V::Set(6.0F), a), kScaledTail);
  const V h = a * (Exp(a * a * V::Set(-0.5F)) * tail);
  return Relu(x) - h;
}

// x * sigmoid(z)
template <typename V>
inline V TimesSigmoid(V x, V z) {
  const V bounded = V::Min(V::Set(87.0F), V::Max(V::Set(-87.0F), z));
  return x / (V::Set(1.0F) + Exp(V::Set(0.0F) - bounded));
}

template <typename V>
inline V GeluTanh(V x) {
  // (1 + tanh(u)) / 2 = sigmoid(2 u), u = sqrt(2/pi) (x + 0.044715 x^3).
  // Beyond 20 the sigmoid is 0 or 1 and x^3 could overflow.
  const V b = V::Min(V::Set(20.0F), V::Max(V::Set(-20.0F), x));
  const V z =
      b * V::Fma(b * b, V::Set(0.0713548162726F), V::Set(1.595769121605731F));
  return TimesSigmoid(V::Max(V::Set(-20.0F), x), z);
}

template <typename V>
inline V Silu(V x) {
  return TimesSigmoid(V::Max(V::Set(-87.0F), x), x);
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
