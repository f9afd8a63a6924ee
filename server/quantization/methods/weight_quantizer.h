// Float weights [N, K] to INT8 codes, symmetric, one scale per output channel,
// or per output channel and group of inputs.
//
//   s[n,g] = max_{k in g} |W[n,k]| / 127      (FP32; 1 where all are zero)
//   q[n,k] = clip(round_half_even(W[n,k] / s[n,g]), -127, 127)
//
// The quotient is taken as kernels/rounding.h says, so any IEEE machine gives
// the same codes.

#ifndef OCTET_SERVER_QUANTIZATION_METHODS_WEIGHT_QUANTIZER_H_
#define OCTET_SERVER_QUANTIZATION_METHODS_WEIGHT_QUANTIZER_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace octet::quantization {

// Scales of a row of K weights. A group_size of 0 is one group of all.
inline size_t GroupsOf(size_t k, size_t group_size) {
  return group_size == 0 ? 1 : (k + group_size - 1) / group_size;
}

// Of one row, scales [GroupsOf(K, group_size)]. Values must be finite.
void ScaleRow(absl::Span<const float> row, size_t group_size, float* scales);
void RoundRow(absl::Span<const float> row, const float* scales,
              size_t group_size, int8_t* codes);

// INVALID_ARGUMENT naming tensor and index, "[3, 17]", of the first value that
// is NaN or infinite. `values` are the tensor's from element `first` on.
absl::Status CheckFinite(std::string_view name, absl::Span<const float> values,
                         absl::Span<const int64_t> shape, size_t first = 0);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_METHODS_WEIGHT_QUANTIZER_H_
