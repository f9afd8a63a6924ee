#include "server/quantization/methods/outliers.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "server/quantization/methods/input_transform.h"

namespace octet::quantization {
namespace {

double FactorOf(absl::Span<const float> smoothing, size_t column) {
  return smoothing.empty() ? 1.0 : 1.0 / smoothing[column];
}

}  // namespace

double SmoothedSigma(const LayerSamples& samples,
                     absl::Span<const float> smoothing) {
  const size_t columns = samples.column_mean.size();
  if (columns == 0) return 0.0;
  double mean = 0.0;
  double mean_square = 0.0;
  for (size_t k = 0; k < columns; ++k) {
    const double factor = FactorOf(smoothing, k);
    mean += samples.column_mean[k] * factor;
    mean_square += samples.column_mean_square[k] * factor * factor;
  }
  mean /= static_cast<double>(columns);
  mean_square /= static_cast<double>(columns);
  return std::sqrt(std::max(mean_square - mean * mean, 0.0));
}

std::vector<int32_t> OutlierColumnsOf(absl::Span<const float> column_absmax,
                                      absl::Span<const float> smoothing,
                                      float threshold) {
  std::vector<int32_t> columns;
  for (size_t k = 0; k < column_absmax.size(); ++k) {
    if (column_absmax[k] * FactorOf(smoothing, k) >= threshold) {
      columns.push_back(static_cast<int32_t>(k));
    }
  }
  return columns;
}

OutlierShares MeasureOutliers(const LayerPlan& plan,
                              kernels::MatrixView<const float> x) {
  OutlierShares shares;
  if (x.cols == 0) return shares;
  shares.features = static_cast<double>(plan.outlier_columns.size()) /
                    static_cast<double>(x.cols);
  const double threshold = plan.scheme.outlier_threshold;
  if (threshold == 0.0 || x.rows == 0) return shares;
  const std::vector<float> coded = TransformedInputs(plan, x);
  size_t reached = std::count_if(coded.begin(), coded.end(), [&](float v) {
    return std::fabs(v) >= threshold;
  });
  for (size_t i = 0; i < x.rows; ++i) {
    for (const int32_t column : plan.outlier_columns) {
      const double v = x.row(i)[column] * FactorOf(plan.smoothing, column);
      if (std::fabs(v) >= threshold) ++reached;
    }
  }
  shares.values =
      static_cast<double>(reached) / static_cast<double>(x.rows * x.cols);
  return shares;
}

}  // namespace octet::quantization
