#include "server/quantization/calibration/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_format.h"

namespace octet::quantization {
namespace {

double Total(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

// One row into the columns' statistics: plain loops over arrays, so that the
// compiler takes several columns at a time.
void ObserveRow(const float* row, LayerStatistics& statistics) {
  const size_t columns = statistics.columns();
  float* const min = statistics.column_min.data();
  float* const max = statistics.column_max.data();
  double* const sum = statistics.column_sum.data();
  double* const squares = statistics.column_sum_squares.data();
  for (size_t c = 0; c < columns; ++c) {
    min[c] = row[c] < min[c] ? row[c] : min[c];
    max[c] = row[c] > max[c] ? row[c] : max[c];
  }
  for (size_t c = 0; c < columns; ++c) {
    const double value = row[c];
    sum[c] += value;
    squares[c] += value * value;
  }
}

}  // namespace

LayerStatistics::LayerStatistics(size_t columns)
    : column_min(columns),
      column_max(columns),
      column_absmax(columns),
      column_sum(columns),
      column_sum_squares(columns) {}

void LayerStatistics::Observe(kernels::MatrixView<const float> x) {
  if (x.rows == 0 || x.cols == 0) return;
  LayerStatistics batch(x.cols);
  batch.column_min.assign(x.row(0), x.row(0) + x.cols);
  batch.column_max = batch.column_min;
  for (size_t r = 0; r < x.rows; ++r) ObserveRow(x.row(r), batch);
  for (size_t c = 0; c < x.cols; ++c) {
    batch.column_absmax[c] =
        std::max(-batch.column_min[c], batch.column_max[c]);
  }
  batch.rows = x.rows;
  batch.batches = 1;
  const float lowest =
      *std::min_element(batch.column_min.begin(), batch.column_min.end());
  const float highest =
      *std::max_element(batch.column_max.begin(), batch.column_max.end());
  batch.min = std::min(0.0F, lowest);
  batch.max = std::max(0.0F, highest);
  batch.sum_batch_min = batch.min;
  batch.sum_batch_max = batch.max;
  batch.histogram.Widen(lowest, highest);
  batch.histogram.Count(x);
  Merge(batch).IgnoreError();  // the widths are equal
}

absl::Status LayerStatistics::Merge(const LayerStatistics& other) {
  if (other.columns() != columns()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("statistics of %d columns cannot be merged with "
                        "statistics of %d columns",
                        other.columns(), columns()));
  }
  if (other.rows == 0) return absl::OkStatus();
  const bool is_first = rows == 0;
  rows += other.rows;
  batches += other.batches;
  min = std::min(min, other.min);
  max = std::max(max, other.max);
  sum_batch_min += other.sum_batch_min;
  sum_batch_max += other.sum_batch_max;
  if (is_first) {
    column_min = other.column_min;
    column_max = other.column_max;
  }
  for (size_t c = 0; c < columns(); ++c) {
    column_min[c] = std::min(column_min[c], other.column_min[c]);
    column_max[c] = std::max(column_max[c], other.column_max[c]);
    column_absmax[c] = std::max(column_absmax[c], other.column_absmax[c]);
    column_sum[c] += other.column_sum[c];
    column_sum_squares[c] += other.column_sum_squares[c];
  }
  histogram.Merge(other.histogram);
  return absl::OkStatus();
}

double LayerStatistics::mean() const {
  const double count = static_cast<double>(rows) * columns();
  return count == 0 ? 0.0 : Total(column_sum) / count;
}

double LayerStatistics::sigma() const {
  const double average = mean();
  const double mean_square = rms() * rms();
  return std::sqrt(std::max(0.0, mean_square - average * average));
}

double LayerStatistics::rms() const {
  const double count = static_cast<double>(rows) * columns();
  return count == 0 ? 0.0 : std::sqrt(Total(column_sum_squares) / count);
}

float LayerStatistics::absmax() const { return std::max(-min, max); }

std::vector<int32_t> OutlierColumns(const LayerStatistics& statistics,
                                    float threshold) {
  std::vector<int32_t> columns;
  for (size_t c = 0; c < statistics.columns(); ++c) {
    if (statistics.column_absmax[c] >= threshold) {
      columns.push_back(static_cast<int32_t>(c));
    }
  }
  return columns;
}

std::vector<int32_t> InactiveColumns(const LayerStatistics& statistics) {
  std::vector<int32_t> columns;
  if (statistics.rows == 0) return columns;
  const double silence = kInactiveShare * statistics.rms();
  for (size_t c = 0; c < statistics.columns(); ++c) {
    // One row shows a value, not that it never changes.
    const bool is_constant =
        statistics.rows > 1 &&
        statistics.column_min[c] == statistics.column_max[c];
    if (is_constant || statistics.column_absmax[c] <= silence) {
      columns.push_back(static_cast<int32_t>(c));
    }
  }
  return columns;
}

}  // namespace octet::quantization
