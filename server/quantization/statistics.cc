#include "server/quantization/statistics.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "absl/strings/str_format.h"

namespace octet::quantization {
namespace {

// Bin of |x| from its bits: twice the exponent, plus one from sqrt(2) on.
size_t HistogramBin(float magnitude) {
  constexpr uint32_t kFractionOfRoot2 = 0x3504F4;  // first FP32 >= sqrt(2)
  constexpr int kBias = 127;
  constexpr int kBinOfOne = 64;
  const auto bits = std::bit_cast<uint32_t>(magnitude);
  const int exponent = static_cast<int>(bits >> 23) - kBias;
  const int upper_half = (bits & 0x7FFFFF) >= kFractionOfRoot2 ? 1 : 0;
  const int bin = 2 * exponent + upper_half + kBinOfOne;
  return static_cast<size_t>(
      std::clamp(bin, 0, static_cast<int>(kHistogramBins) - 1));
}

}  // namespace

LayerStatistics::LayerStatistics(size_t columns) : column_absmax(columns) {}

// Sums are built from rows and batches, not value by value, so that rounding
// errors grow with the number of rows and not of values.
void LayerStatistics::Observe(kernels::MatrixView<const float> x) {
  double batch_sum = 0.0;
  double batch_squares = 0.0;
  for (size_t r = 0; r < x.rows; ++r) {
    const float* row = x.row(r);
    double row_sum = 0.0;
    double row_squares = 0.0;
    for (size_t c = 0; c < x.cols; ++c) {
      const float value = row[c];
      const float magnitude = std::fabs(value);
      min = std::min(min, value);
      max = std::max(max, value);
      column_absmax[c] = std::max(column_absmax[c], magnitude);
      row_sum += value;
      row_squares += static_cast<double>(value) * value;
      ++histogram[HistogramBin(magnitude)];
    }
    batch_sum += row_sum;
    batch_squares += row_squares;
  }
  rows += x.rows;
  sum += batch_sum;
  sum_squares += batch_squares;
}

absl::Status LayerStatistics::Merge(const LayerStatistics& other) {
  if (other.columns() != columns()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("statistics of %d columns cannot be merged with "
                        "statistics of %d columns",
                        other.columns(), columns()));
  }
  rows += other.rows;
  min = std::min(min, other.min);
  max = std::max(max, other.max);
  sum += other.sum;
  sum_squares += other.sum_squares;
  for (size_t c = 0; c < columns(); ++c) {
    column_absmax[c] = std::max(column_absmax[c], other.column_absmax[c]);
  }
  for (size_t bin = 0; bin < kHistogramBins; ++bin) {
    histogram[bin] += other.histogram[bin];
  }
  return absl::OkStatus();
}

double LayerStatistics::mean() const {
  const double count = static_cast<double>(rows) * columns();
  return count == 0 ? 0.0 : sum / count;
}

double LayerStatistics::sigma() const {
  const double count = static_cast<double>(rows) * columns();
  if (count == 0) return 0.0;
  const double average = sum / count;
  return std::sqrt(std::max(0.0, sum_squares / count - average * average));
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

}  // namespace octet::quantization
