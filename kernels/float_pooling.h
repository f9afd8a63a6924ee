// One row per sequence out of one row per token, and rows of unit length.
//   mean   y = sum_t x[t] / length
//   first  y = x[0]                    (the [CLS] token)
//   max    y = max_t x[t]
//   L2     y = x / max(|x|_2, 1e-12)

#ifndef OCTET_KERNELS_FLOAT_POOLING_H_
#define OCTET_KERNELS_FLOAT_POOLING_H_

#include <cstdint>

#include "absl/types/span.h"
#include "kernels/matrix_view.h"

namespace octet::kernels {

enum class PoolingKind : uint8_t { kMean, kFirst, kMax };

// x [sum(lengths), N], y [lengths.size(), N]; every length is at least 1. A NaN
// of a sequence, but for kFirst, is a NaN of its row, wherever it stands.
void Pool(PoolingKind kind, MatrixView<const float> x,
          absl::Span<const int32_t> lengths, MatrixView<float> y);

// x and y [M, N]; y may be x.
void NormalizeL2(MatrixView<const float> x, MatrixView<float> y);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_FLOAT_POOLING_H_
