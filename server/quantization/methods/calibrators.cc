#include "server/quantization/methods/calibrators.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "server/model/str_cat.h"
#include "server/quantization/methods/clip_search.h"

namespace octet::quantization {
namespace {

Range MovingAverage(const LayerStatistics& statistics) {
  const auto batches = static_cast<double>(statistics.batches);
  return {static_cast<float>(statistics.sum_batch_min / batches),
          static_cast<float>(statistics.sum_batch_max / batches)};
}

// Where `share` of the values lie below, even within a bin.
double Quantile(const Histogram& histogram, double share) {
  const double wanted = share * static_cast<double>(histogram.total());
  double below = 0.0;
  for (size_t i = 0; i < histogram.counts().size(); ++i) {
    const auto count = static_cast<double>(histogram.counts()[i]);
    if (count > 0.0 && below + count >= wanted) {
      const double part = std::max(0.0, wanted - below) / count;
      return histogram.LowerBound(i) + part * histogram.width();
    }
    below += count;
  }
  return histogram.LowerBound(histogram.counts().size());
}

Range Percentile(const LayerStatistics& statistics, double percentile) {
  const double share = percentile / 100.0;
  return {static_cast<float>(Quantile(statistics.histogram, 1.0 - share)),
          static_cast<float>(Quantile(statistics.histogram, share))};
}

Range Choose(Calibrator calibrator, const LayerStatistics& statistics,
             double percentile) {
  switch (calibrator) {
    case Calibrator::kMinMax:
      break;
    case Calibrator::kMovingAverage:
      return MovingAverage(statistics);
    case Calibrator::kPercentile:
      return Percentile(statistics, percentile);
    case Calibrator::kEntropy:
      return LeastDivergence(statistics);
    case Calibrator::kMse:
      return LeastSquaredError(statistics);
  }
  return {statistics.min, statistics.max};
}

}  // namespace

std::string_view Name(Calibrator calibrator) {
  switch (calibrator) {
    case Calibrator::kMinMax:
      return "min_max";
    case Calibrator::kMovingAverage:
      return "moving_average";
    case Calibrator::kPercentile:
      return "percentile";
    case Calibrator::kEntropy:
      return "entropy";
    case Calibrator::kMse:
      return "mse";
  }
  return "unknown";
}

absl::StatusOr<Calibrator> ParseCalibrator(std::string_view name) {
  for (const Calibrator calibrator : kCalibrators) {
    if (name == Name(calibrator)) return calibrator;
  }
  return absl::InvalidArgumentError(model::StrCat(
      "calibrator '", name, "' is unknown; choose one of ",
      absl::StrJoin(kCalibrators, ", ", [](std::string* out, Calibrator one) {
        out->append("'").append(Name(one)).append("'");
      })));
}

absl::Status CheckPercentile(double percentile) {
  if (percentile > 50.0 && percentile <= 100.0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "percentile: %g is not above 50 and at most 100", percentile));
}

Range ChooseRange(Calibrator calibrator, const LayerStatistics& statistics,
                  double percentile) {
  if (statistics.rows == 0) return {};
  const Range range = Choose(calibrator, statistics, percentile);
  return {std::clamp(range.min, statistics.min, 0.0F),
          std::clamp(range.max, 0.0F, statistics.max)};
}

RangeQuality MeasureRange(Range range, const LayerStatistics& statistics) {
  RangeQuality quality;
  const auto total = static_cast<double>(statistics.histogram.total());
  if (total == 0.0) return quality;
  quality.clipped_share = CountOutside(range, statistics) / total;
  const double error =
      SquaredError(statistics, AffineFromRange(range.min, range.max)) / total;
  const double signal = statistics.rms() * statistics.rms();
  quality.sqnr_db = error > 0.0 ? 10.0 * std::log10(signal / error)
                                : std::numeric_limits<double>::infinity();
  return quality;
}

std::vector<CalibratorChoice> ChooseAll(const LayerStatistics& statistics,
                                        double percentile) {
  std::vector<CalibratorChoice> choices;
  for (const Calibrator calibrator : kCalibrators) {
    const Range range = ChooseRange(calibrator, statistics, percentile);
    choices.push_back({calibrator, range, MeasureRange(range, statistics)});
  }
  return choices;
}

}  // namespace octet::quantization
