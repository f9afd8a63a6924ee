// What calibration remembers of a linear's input. Updated batch by batch:
// memory does not grow with the number of samples.
//
// Merging the statistics of any split of the batches, in any order, gives what
// one pass gives: rows, batches, ranges and histograms to the bit, sums up to
// the rounding of FP64.

#ifndef OCTET_SERVER_QUANTIZATION_CALIBRATION_STATISTICS_H_
#define OCTET_SERVER_QUANTIZATION_CALIBRATION_STATISTICS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "kernels/matrix_view.h"
#include "server/quantization/calibration/histogram.h"

namespace octet::quantization {

// An input channel whose |x| never passes this share of the input's root mean
// square adds nothing that INT8 codes of the input could show.
inline constexpr double kInactiveShare = 1e-3;

class LayerStatistics {
 public:
  explicit LayerStatistics(size_t columns = 0);

  // One batch; `x` is finite.
  void Observe(kernels::MatrixView<const float> x);

  // INVALID_ARGUMENT when the widths differ.
  absl::Status Merge(const LayerStatistics& other);

  size_t columns() const { return column_absmax.size(); }
  double mean() const;   // of all values
  double sigma() const;  // their standard deviation
  double rms() const;    // root of their mean square
  float absmax() const;

  uint64_t rows = 0;
  uint64_t batches = 0;
  float min = 0.0F;  // 0 is always inside the range
  float max = 0.0F;
  double sum_batch_min = 0.0;  // of each batch's own min and max
  double sum_batch_max = 0.0;
  std::vector<float> column_min;           // [K], as seen; 0 while rows == 0
  std::vector<float> column_max;           // [K]
  std::vector<float> column_absmax;        // [K]
  std::vector<double> column_sum;          // [K]
  std::vector<double> column_sum_squares;  // [K]
  Histogram histogram;
};

// Statistics of linear layers, by name; layers that share an input share them.
using StatisticsByLayer =
    std::map<std::string, const LayerStatistics*, std::less<>>;

// Columns whose largest |x| reaches the threshold, sorted.
std::vector<int32_t> OutlierColumns(const LayerStatistics& statistics,
                                    float threshold);

// Columns that never changed their value, or whose |x| never passed
// kInactiveShare * rms, sorted. None before anything was observed.
std::vector<int32_t> InactiveColumns(const LayerStatistics& statistics);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_CALIBRATION_STATISTICS_H_
