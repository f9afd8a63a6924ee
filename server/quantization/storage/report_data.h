// From statistics and plans to what the report shows of them, within the
// bounds of server/bundle/report.h.

#ifndef OCTET_SERVER_QUANTIZATION_STORAGE_REPORT_DATA_H_
#define OCTET_SERVER_QUANTIZATION_STORAGE_REPORT_DATA_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "server/bundle/manifest.h"
#include "server/bundle/report.h"
#include "server/quantization/calibration/calibration.h"
#include "server/quantization/calibration/histogram.h"
#include "server/quantization/calibration/statistics.h"
#include "server/quantization/methods/layer_plan.h"

namespace octet::quantization {

// Layers whose values are kept; of a model with more, those that lose most.
// Keeps octet.json below its limit, and the page below what a browser likes.
inline constexpr size_t kDetailedLayers = 512;

bundle::HistogramReport DescribeHistogram(const Histogram& histogram);

// Fills in what the report says of channels from each one's max |x|.
void DescribeChannels(absl::Span<const float> absmax,
                      bundle::TensorReport& report);

// The input of a layer. The clip is that of a static scale of the values as
// they come; behind a smoothing or a rotation there is none that could be
// compared with them.
bundle::TensorReport DescribeActivations(const LayerStatistics& statistics,
                                         const LayerPlan& plan);

// What each calibrator would have given the layer's input, and which one the
// plan used.
std::vector<bundle::CalibratorReport> DescribeCalibrators(
    const LayerStatistics& statistics, const LayerPlan& plan);

// Scheme and methods of a layer, as its plan says.
void DescribeMethods(const LayerPlan& plan, bundle::LayerReport& report);

// What calibration knows of the inputs of the report's layers.
void DescribeInputs(const Calibration& calibration,
                    const std::map<std::string, LayerPlan>& plans,
                    bundle::QuantizationReport& report);

// Of the inputs as the bundle's layers get them: divided where a smoothing is
// folded into what makes them.
std::map<std::string, bundle::LayerRange> DescribeRanges(
    const Calibration& calibration,
    const std::map<std::string, LayerPlan>& plans);

// Values of no more than kDetailedLayers layers; a warning where that cuts.
void LimitDetails(bundle::QuantizationReport& report);

// The model that others are compared with.
bundle::FrontierPoint FloatPoint(uint64_t linear_bytes);

// Microseconds of all linears; 0: not measured.
struct LinearTimes {
  double as_float = 0.0;
  double as_stored = 0.0;
};

// Where no search left plans to compare: the float model and this one.
void DescribeFrontier(const LinearTimes& times,
                      bundle::QuantizationReport& report);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_STORAGE_REPORT_DATA_H_
