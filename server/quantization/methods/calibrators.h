// The range [min, max] that a static activation scale is made of, chosen from
// calibration's statistics.
//
//   min_max         the extremes that were seen
//   moving_average  mean over batches of each batch's extremes. All batches
//                   weigh the same (not exponentially less with age), so that
//                   merged calibrations give what one pass gives
//   percentile      the quantiles 1 - p and p of the values
//   entropy         the clip whose 256 levels keep most information: least
//                   KL(P || Q), P the clipped histogram with what lies outside
//                   added to its end bins, Q its levels spread over P's bins
//                   (Migacz, "8-bit inference with TensorRT", GTC 2017)
//   mse             least mean squared error of clipping and rounding together
//
// Entropy and mse see the histogram: values are taken as even within a bin.
// Entropy searches one magnitude t and gives [max(min, -t), min(max, t)]; the
// bin at 0 does not count in it, since 0 has a code of its own. Every range
// includes 0 and lies within the extremes seen.

#ifndef OCTET_SERVER_QUANTIZATION_METHODS_CALIBRATORS_H_
#define OCTET_SERVER_QUANTIZATION_METHODS_CALIBRATORS_H_

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/quantization/calibration/statistics.h"
#include "server/quantization/methods/affine.h"

namespace octet::quantization {

enum class Calibrator : uint8_t {
  kMinMax,
  kMovingAverage,
  kPercentile,
  kEntropy,
  kMse,
};

inline constexpr std::array<Calibrator, 5> kCalibrators = {
    Calibrator::kMinMax, Calibrator::kMovingAverage, Calibrator::kPercentile,
    Calibrator::kEntropy, Calibrator::kMse};

// "min_max", "moving_average", "percentile", "entropy", "mse".
std::string_view Name(Calibrator calibrator);
// INVALID_ARGUMENT lists the names.
absl::StatusOr<Calibrator> ParseCalibrator(std::string_view name);

inline constexpr double kDefaultPercentile = 99.99;
// INVALID_ARGUMENT unless 50 < percentile <= 100.
absl::Status CheckPercentile(double percentile);

struct Range {
  float min = 0.0F;
  float max = 0.0F;

  friend bool operator==(const Range&, const Range&) = default;
};

// Statistics of nothing give [0, 0].
Range ChooseRange(Calibrator calibrator, const LayerStatistics& statistics,
                  double percentile = kDefaultPercentile);

// What a range does to the values that were seen, by the histogram.
struct RangeQuality {
  double clipped_share = 0.0;  // values outside, of all
  double sqnr_db = 0.0;        // of static codes; +infinity when exact
};
RangeQuality MeasureRange(Range range, const LayerStatistics& statistics);

// What each calibrator would have chosen, in the order of kCalibrators.
struct CalibratorChoice {
  Calibrator calibrator;
  Range range;
  RangeQuality quality;
};
std::vector<CalibratorChoice> ChooseAll(const LayerStatistics& statistics,
                                        double percentile = kDefaultPercentile);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_METHODS_CALIBRATORS_H_
