#include "kernels/float_pooling.h"

#include <algorithm>
#include <cmath>

namespace octet::kernels {
namespace {

// std::max keeps a NaN or drops it by where it stands.
float Larger(float a, float b) { return b > a || std::isnan(b) ? b : a; }

void PoolOne(PoolingKind kind, MatrixView<const float> x, float* y) {
  std::copy_n(x.row(0), x.cols, y);
  if (kind == PoolingKind::kFirst) return;
  for (size_t t = 1; t < x.rows; ++t) {
    const float* row = x.row(t);
    if (kind == PoolingKind::kMean) {
      for (size_t n = 0; n < x.cols; ++n) y[n] += row[n];
    } else {
      for (size_t n = 0; n < x.cols; ++n) y[n] = Larger(y[n], row[n]);
    }
  }
  if (kind == PoolingKind::kMean) {
    const auto length = static_cast<float>(x.rows);
    for (size_t n = 0; n < x.cols; ++n) y[n] /= length;
  }
}

}  // namespace

void Pool(PoolingKind kind, MatrixView<const float> x,
          absl::Span<const int32_t> lengths, MatrixView<float> y) {
  size_t start = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    const auto length = static_cast<size_t>(lengths[i]);
    PoolOne(kind, x.Rows(start, length), y.row(i));
    start += length;
  }
}

void NormalizeL2(MatrixView<const float> x, MatrixView<float> y) {
  for (size_t m = 0; m < x.rows; ++m) {
    // In double: a row of large values must not overflow its own norm.
    double square = 0.0;
    for (size_t n = 0; n < x.cols; ++n) {
      square += static_cast<double>(x.row(m)[n]) * x.row(m)[n];
    }
    const double norm = std::max(std::sqrt(square), 1e-12);
    for (size_t n = 0; n < x.cols; ++n) {
      y.row(m)[n] = static_cast<float>(x.row(m)[n] / norm);
    }
  }
}

}  // namespace octet::kernels
