// Where the time of quantized linears went, in nanoseconds of CPU work.
//
//   quantize    float rows -> codes and row scales
//   dot         int8 dot products
//   dequantize  int32 accumulators -> scaled, biased, activated output
//   outlier     the 16-bit part of LLM.int8
//
// dequant overhead = (quantize + dequantize + outlier) / sum of all four.

#ifndef OCTET_KERNELS_PHASE_CLOCK_H_
#define OCTET_KERNELS_PHASE_CLOCK_H_

#include <cstdint>

namespace octet::kernels {

struct PhaseTimes {
  uint64_t quantize_ns = 0;
  uint64_t dot_ns = 0;
  uint64_t dequantize_ns = 0;
  uint64_t outlier_ns = 0;

  PhaseTimes& operator+=(const PhaseTimes& other) {
    quantize_ns += other.quantize_ns;
    dot_ns += other.dot_ns;
    dequantize_ns += other.dequantize_ns;
    outlier_ns += other.outlier_ns;
    return *this;
  }
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_PHASE_CLOCK_H_
