#include "server/quantization/methods/bias_correction.h"

#include <algorithm>
#include <cstddef>

#include "kernels/status_macros.h"

namespace octet::quantization {

using kernels::MatrixView;

absl::StatusOr<std::vector<float>> CorrectedBias(
    MatrixView<const float> weight, absl::Span<const float> bias,
    const kernels::Int8Linear& layer, MatrixView<const float> x,
    kernels::ThreadPool* pool) {
  constexpr size_t kRowsAtOnce = 256;
  std::vector<double> y_sum(weight.rows);
  std::vector<double> x_sum(weight.cols);
  std::vector<float> y(std::min(kRowsAtOnce, x.rows) * weight.rows);
  kernels::LinearCall call;
  call.pool = pool;
  for (size_t begin = 0; begin < x.rows; begin += kRowsAtOnce) {
    const auto rows = x.Rows(begin, std::min(kRowsAtOnce, x.rows - begin));
    const MatrixView<float> result(y.data(), rows.rows, weight.rows);
    RETURN_IF_ERROR(layer.Run(rows, result, call));
    for (size_t i = 0; i < rows.rows; ++i) {
      for (size_t k = 0; k < weight.cols; ++k) x_sum[k] += rows.row(i)[k];
      for (size_t n = 0; n < weight.rows; ++n) y_sum[n] += result.row(i)[n];
    }
  }
  // The float layer's mean output is its output for the mean input.
  const auto count = static_cast<double>(x.rows);
  std::vector<float> corrected(weight.rows);
  for (size_t n = 0; n < weight.rows; ++n) {
    double expected = bias[n];
    for (size_t k = 0; k < weight.cols; ++k) {
      expected += weight.row(n)[k] * x_sum[k] / count;
    }
    corrected[n] = static_cast<float>(bias[n] + expected - y_sum[n] / count);
  }
  return corrected;
}

}  // namespace octet::quantization
