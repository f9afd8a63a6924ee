// 16-bit floats as bit patterns, rounded half to even.
//
//   FP16  1 sign, 5 exponent, 10 fraction bits (IEEE 754 binary16)
//   BF16  the upper half of an FP32

#ifndef OCTET_KERNELS_HALF_H_
#define OCTET_KERNELS_HALF_H_

#include <cstdint>

namespace octet::kernels {

float Fp16ToFloat(uint16_t bits);
uint16_t FloatToFp16(float value);  // out of range becomes infinity
float Bf16ToFloat(uint16_t bits);
uint16_t FloatToBf16(float value);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_HALF_H_
