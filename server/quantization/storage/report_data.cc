#include "server/quantization/storage/report_data.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>

#include "server/quantization/methods/calibrators.h"
#include "server/quantization/methods/outliers.h"
#include "server/quantization/storage/budget_report.h"

namespace octet::quantization {
namespace {

using bundle::LayerReport;
using bundle::TensorReport;

// Of sorted values; the nearest rank.
double Quantile(const std::vector<float>& sorted, double share) {
  const auto last = static_cast<double>(sorted.size() - 1);
  return sorted[static_cast<size_t>(std::lround(share * last))];
}

// Range of the values that static codes can hold.
Range StaticClip(const AffineParameters& input) {
  constexpr int32_t kLargestCode = 255;
  return {static_cast<float>(-input.zero_point) * input.scale,
          static_cast<float>(kLargestCode - input.zero_point) * input.scale};
}

bool HasStaticClip(const LayerPlan& plan) {
  return plan.scheme.scheme == model::Scheme::kW8A8Static &&
         plan.smoothing.empty() && plan.scheme.hadamard_block == 0;
}

// The first layer of the report that reads the same input.
std::string FirstReader(const CalibratedInput& input,
                        const bundle::QuantizationReport& report) {
  for (const LayerReport& layer : report.layers) {
    if (std::find(input.layers.begin(), input.layers.end(), layer.layer) !=
        input.layers.end()) {
      return layer.layer;
    }
  }
  return "";
}

// Of x / factors. Ranges and sums of columns are exact up to rounding; there is
// no telling the histogram.
LayerStatistics DividedColumns(const LayerStatistics& statistics,
                               absl::Span<const float> factors) {
  LayerStatistics divided(factors.size());
  divided.rows = statistics.rows;
  for (size_t k = 0; k < factors.size(); ++k) {
    const double factor = factors[k];
    divided.min = std::min(divided.min, statistics.column_min[k] / factors[k]);
    divided.max = std::max(divided.max, statistics.column_max[k] / factors[k]);
    divided.column_sum[k] = statistics.column_sum[k] / factor;
    divided.column_sum_squares[k] =
        statistics.column_sum_squares[k] / (factor * factor);
  }
  return divided;
}

bundle::LayerRange RangeOf(const LayerStatistics& statistics) {
  return {.rows = static_cast<int64_t>(statistics.rows),
          .min = statistics.min,
          .max = statistics.max,
          .absmax = statistics.absmax(),
          .sigma = statistics.sigma()};
}

// Smaller is worse. Layers that nothing was measured of come last.
double Loss(const LayerReport& layer) {
  return layer.output_rows > 0 ? layer.output.sqnr_db : layer.weight.sqnr_db;
}

}  // namespace

bundle::HistogramReport DescribeHistogram(const Histogram& histogram) {
  const Histogram coarse = histogram.Coarsened(bundle::kReportBins);
  bundle::HistogramReport report;
  report.min = coarse.LowerBound(0);
  report.max = coarse.LowerBound(coarse.counts().size());
  report.counts.assign(coarse.counts().begin(), coarse.counts().end());
  return report;
}

void DescribeChannels(absl::Span<const float> absmax, TensorReport& report) {
  report.channels = static_cast<int64_t>(absmax.size());
  if (absmax.empty()) return;
  std::vector<float> sorted(absmax.begin(), absmax.end());
  std::sort(sorted.begin(), sorted.end());
  report.channel_absmax = {.min = sorted.front(),
                           .p25 = Quantile(sorted, 0.25),
                           .median = Quantile(sorted, 0.5),
                           .p75 = Quantile(sorted, 0.75),
                           .p99 = Quantile(sorted, 0.99),
                           .max = sorted.back()};
  std::vector<size_t> order(absmax.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  const size_t count = std::min(bundle::kReportChannels, order.size());
  std::partial_sort(order.begin(), order.begin() + count, order.end(),
                    [&](size_t a, size_t b) {
                      return absmax[a] != absmax[b] ? absmax[a] > absmax[b]
                                                    : a < b;
                    });
  for (size_t i = 0; i < count; ++i) {
    report.largest_channels.push_back(
        {static_cast<int64_t>(order[i]), absmax[order[i]]});
  }
}

TensorReport DescribeActivations(const LayerStatistics& statistics,
                                 const LayerPlan& plan) {
  TensorReport report;
  if (statistics.rows == 0) return report;
  report.min = statistics.min;
  report.max = statistics.max;
  report.sigma = statistics.sigma();
  if (HasStaticClip(plan)) {
    const Range clip = StaticClip(plan.input);
    report.clip_min = clip.min;
    report.clip_max = clip.max;
    report.clipped_share = MeasureRange(clip, statistics).clipped_share;
  }
  report.histogram = DescribeHistogram(statistics.histogram);
  DescribeChannels(statistics.column_absmax, report);
  return report;
}

std::vector<bundle::CalibratorReport> DescribeCalibrators(
    const LayerStatistics& statistics, const LayerPlan& plan) {
  std::vector<bundle::CalibratorReport> reports;
  if (statistics.rows == 0) return reports;
  const bool is_static = plan.scheme.scheme == model::Scheme::kW8A8Static;
  for (const CalibratorChoice& choice :
       ChooseAll(statistics, plan.percentile)) {
    reports.push_back(
        {.calibrator = std::string(Name(choice.calibrator)),
         .min = choice.range.min,
         .max = choice.range.max,
         .chosen = is_static && choice.calibrator == plan.calibrator});
  }
  return reports;
}

void DescribeMethods(const LayerPlan& plan, LayerReport& report) {
  report.scheme = plan.scheme.scheme;
  report.reason = plan.reason;
  report.outlier_columns = static_cast<int64_t>(plan.outlier_columns.size());
  report.outlier_threshold = plan.scheme.outlier_threshold;
  if (!model::IsInt8(plan.scheme.scheme)) return;
  if (!plan.smoothing.empty()) report.smoothing_alpha = plan.smoothing_alpha;
  report.smoothing_folded_into = plan.smoothing_folded_into;
  report.hadamard_block = plan.scheme.hadamard_block;
  report.group_size = plan.scheme.group_size;
  report.rounding = plan.rounding == Rounding::kGptq ? "gptq" : "nearest";
  report.bias_correction = plan.bias_correction;
}

void DescribeInputs(const Calibration& calibration,
                    const std::map<std::string, LayerPlan>& plans,
                    bundle::QuantizationReport& report) {
  report.calibration_samples = calibration.samples;
  for (LayerReport& layer : report.layers) {
    const CalibratedInput* input = calibration.Find(layer.layer);
    const auto plan = plans.find(layer.layer);
    if (input == nullptr || plan == plans.end()) continue;
    if (layer.outlier_threshold > 0) {
      layer.outlier_value_share =
          MeasureOutliers(plan->second, input->rows.rows()).values;
    }
    const std::string first = FirstReader(*input, report);
    if (first != layer.layer) {
      layer.shares_input_with = first;
      continue;
    }
    layer.activations = DescribeActivations(input->statistics, plan->second);
    layer.calibrators = DescribeCalibrators(input->statistics, plan->second);
  }
}

std::map<std::string, bundle::LayerRange> DescribeRanges(
    const Calibration& calibration,
    const std::map<std::string, LayerPlan>& plans) {
  std::map<std::string, bundle::LayerRange> ranges;
  for (const auto& [layer, statistics] : calibration.ByLayer()) {
    const auto plan = plans.find(layer);
    const bool folded =
        plan != plans.end() && !plan->second.smoothing_folded_into.empty();
    ranges[layer] =
        RangeOf(folded ? DividedColumns(*statistics, plan->second.smoothing)
                       : *statistics);
  }
  return ranges;
}

void LimitDetails(bundle::QuantizationReport& report) {
  const size_t count = report.layers.size();
  if (count <= kDetailedLayers) return;
  std::vector<LayerReport*> layers;
  for (LayerReport& layer : report.layers) layers.push_back(&layer);
  std::nth_element(layers.begin(), layers.begin() + kDetailedLayers,
                   layers.end(),
                   [](const LayerReport* a, const LayerReport* b) {
                     return std::pair(Loss(*a), a) < std::pair(Loss(*b), b);
                   });
  for (size_t i = kDetailedLayers; i < count; ++i) {
    layers[i]->weights = {};
    layers[i]->activations = {};
    layers[i]->calibrators.clear();
    layers[i]->candidates.clear();
    layers[i]->shares_input_with.clear();
  }
  report.warnings.push_back("the report keeps histograms and channels of the " +
                            std::to_string(kDetailedLayers) +
                            " layers that lose most, of " +
                            std::to_string(count));
}

bundle::FrontierPoint FloatPoint(uint64_t linear_bytes) {
  bundle::FrontierPoint point;
  point.name = "fp32";
  point.stored_bytes = linear_bytes;
  point.mean_row_cosine = 1.0;
  point.measured = true;
  return point;
}

void DescribeFrontier(const LinearTimes& times,
                      bundle::QuantizationReport& report) {
  if (!report.frontier.empty() || report.model_rows == 0) return;
  bundle::FrontierPoint own;
  own.name = "this bundle";
  own.stored_bytes = report.linear_stored_bytes;
  own.relative_error = RelativeError(report.model);
  own.mean_row_cosine = report.mean_row_cosine;
  own.microseconds = times.as_stored;
  own.measured = true;
  own.chosen = true;
  bundle::FrontierPoint exact = FloatPoint(report.linear_float_bytes);
  exact.microseconds = times.as_float;
  report.frontier = {exact, own};
}

}  // namespace octet::quantization
