#include "kernels/float_activation.h"

#include <cmath>
#include <cstddef>

#include "kernels/activation.h"
#include "kernels/matrix_view.h"

namespace octet::kernels {
namespace {

float Apply(Activation activation, float x) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return 0.0F > x ? 0.0F : x;
    case Activation::kGelu:
      return x * 0.5F * std::erfc(x * -0.70710678F);
    case Activation::kGeluTanh:
      return 0.5F * x *
             (1.0F + std::tanh(0.7978845608F * (x + 0.044715F * x * x * x)));
    case Activation::kSilu:
      return x / (1.0F + std::exp(-x));
    case Activation::kTanh:
      return std::tanh(x);
  }
  return x;
}

}  // namespace

void Activate(Activation activation, MatrixView<float> inout) {
  if (activation == Activation::kNone) return;
  for (size_t i = 0; i < inout.rows; ++i) {
    float* row = inout.row(i);
    for (size_t j = 0; j < inout.cols; ++j) row[j] = Apply(activation, row[j]);
  }
}

}  // namespace octet::kernels
