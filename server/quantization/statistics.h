// What calibration remembers of a linear's input. Updated batch by batch:
// memory does not grow with the number of samples.

#ifndef OCTET_SERVER_QUANTIZATION_STATISTICS_H_
#define OCTET_SERVER_QUANTIZATION_STATISTICS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "kernels/matrix_view.h"

namespace octet::quantization {

inline constexpr size_t kHistogramBins = 96;

class LayerStatistics {
 public:
  explicit LayerStatistics(size_t columns = 0);

  void Observe(kernels::MatrixView<const float> x);

  // INVALID_ARGUMENT when the widths differ.
  absl::Status Merge(const LayerStatistics& other);

  size_t columns() const { return column_absmax.size(); }
  double mean() const;
  double sigma() const;  // standard deviation of all values of the layer
  float absmax() const;

  uint64_t rows = 0;
  float min = 0.0F;  // 0 is always inside the range
  float max = 0.0F;
  double sum = 0.0;
  double sum_squares = 0.0;
  std::vector<float> column_absmax;  // [K]
  // Counts of |x| by power of sqrt(2): bin i holds [2^((i-64)/2),
  // 2^((i-63)/2)), the first and last bins also what lies beyond.
  std::array<uint64_t, kHistogramBins> histogram{};
};

using StatisticsByLayer = std::map<std::string, LayerStatistics, std::less<>>;

// Columns whose largest |x| reaches the threshold, sorted.
std::vector<int32_t> OutlierColumns(const LayerStatistics& statistics,
                                    float threshold);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_STATISTICS_H_
