// What the elements of a linear layer's input and output are.

#ifndef OCTET_KERNELS_ELEMENT_TYPE_H_
#define OCTET_KERNELS_ELEMENT_TYPE_H_

#include <cstdint>

namespace octet::kernels {

enum class ElementType : uint8_t {
  kFp32,
  kFp16,
  kBf16,
  kCode,  // u8, affine: x = scale * (code - zero point)
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_ELEMENT_TYPE_H_
