// The functions of activation.h over a matrix, in place, vectorized.
//
// Bit-equal on every instruction set: all of them run one formula, with the
// same fused multiply-adds in the same order. Distance to the exact value,
// measured over all of FP32's range (see float_activation_test):
//   gelu              absolute 1.2e-7, and the rounding of the result
//   gelu_tanh         absolute 2e-7, likewise
//   silu              relative 1e-6 (absolute 1e-36 below x = -87)
//   tanh              relative 1e-6
// NaN stays NaN.

#ifndef OCTET_KERNELS_FLOAT_ACTIVATION_H_
#define OCTET_KERNELS_FLOAT_ACTIVATION_H_

#include "kernels/activation.h"
#include "kernels/matrix_view.h"

namespace octet::kernels {

void Activate(Activation activation, MatrixView<float> inout);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_FLOAT_ACTIVATION_H_
