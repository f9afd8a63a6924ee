// The pointwise functions a linear layer can end with.
//
//   relu(x)      = max(x, 0)
//   gelu(x)      = x * (1 + erf(x / sqrt(2))) / 2
//   gelu_tanh(x) = x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))) / 2
//   silu(x)      = x / (1 + exp(-x))

#ifndef OCTET_KERNELS_ACTIVATION_H_
#define OCTET_KERNELS_ACTIVATION_H_

#include <cstdint>

namespace octet::kernels {

enum class Activation : uint8_t {
  kNone,
  kRelu,
  kGelu,
  kGeluTanh,
  kSilu,
  kTanh
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_ACTIVATION_H_
