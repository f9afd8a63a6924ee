// Counts of values in bins of one width, a power of two:
//
//   bin i counts   i * 2^e <= x < (i + 1) * 2^e
//
// e is the smallest exponent with which the bins of min..max (0 is always
// inside) are at most kMaxBins. When the range grows, bins 2i and 2i + 1
// become bin i: floor(floor(x / w) / 2) = floor(x / 2w), so that widening loses
// resolution and never moves a count into a wrong bin. The histogram is
// therefore a function of the values alone: observing them in any order, or
// merging histograms of any split of them, gives the same bins and counts.

#ifndef OCTET_SERVER_QUANTIZATION_CALIBRATION_HISTOGRAM_H_
#define OCTET_SERVER_QUANTIZATION_CALIBRATION_HISTOGRAM_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/matrix_view.h"

namespace octet::quantization {

class Histogram {
 public:
  // 8 to 16 bins per step of a code over the whole range; 32 KiB.
  static constexpr size_t kMaxBins = 4096;

  // Bins of nothing but zero.
  Histogram();

  // What counts() and the rest said of another one. INVALID_ARGUMENT for
  // numbers that no histogram has.
  static absl::StatusOr<Histogram> Create(int exponent, int64_t first_bin,
                                          std::vector<uint64_t> counts);

  // Makes place for [min, max], which is finite.
  void Widen(float min, float max);

  // Counts values for which there is place.
  void Count(kernels::MatrixView<const float> x);

  void Merge(const Histogram& other);

  // Bins in order; bin 0 of the formula is always among them.
  absl::Span<const uint64_t> counts() const { return counts_; }
  double width() const;  // 2^e
  int exponent() const { return exponent_; }
  int64_t first_bin() const { return first_; }  // of counts()[0]; <= 0

  // Smallest value that counts()[i] can hold; i = size() is the upper end.
  double LowerBound(size_t i) const {
    return static_cast<double>(first_ + static_cast<int64_t>(i)) * width();
  }

  uint64_t total() const;

  // The same counts in at most `max_bins` >= 2 bins.
  Histogram Coarsened(size_t max_bins) const;

  friend bool operator==(const Histogram&, const Histogram&) = default;

 private:
  // Makes place for bins first..last of the grid of `exponent`.
  void Fit(int exponent, int64_t first, int64_t last);
  void Regrid(int exponent, int64_t first, int64_t last);
  int64_t last_bin() const {
    return first_ + static_cast<int64_t>(counts_.size()) - 1;
  }

  int exponent_;
  int64_t first_ = 0;
  std::vector<uint64_t> counts_;
};

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_CALIBRATION_HISTOGRAM_H_
