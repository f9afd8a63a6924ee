// Outlier features of a layer's input (LLM.int8, Dettmers et al. 2022):
//
//   v = x / smoothing
//   column j is one      where max |v[:,j]| >= threshold in calibration
//   a live value is one  where |v| >= threshold among what is coded, by row
//
// The threshold is a number of the plan: absolute, 6 in the paper, or a
// multiple of the standard deviation of v that calibration saw. It is never
// taken from a batch, so that a row's result does not depend on its neighbours.

#ifndef OCTET_SERVER_QUANTIZATION_METHODS_OUTLIERS_H_
#define OCTET_SERVER_QUANTIZATION_METHODS_OUTLIERS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "kernels/matrix_view.h"
#include "server/quantization/calibration/layer_samples.h"
#include "server/quantization/methods/layer_plan.h"

namespace octet::quantization {

// Of all values of v, from the moments of all rows that calibration saw; 0
// where it saw none. `smoothing` is [K] or empty.
double SmoothedSigma(const LayerSamples& samples,
                     absl::Span<const float> smoothing);

// Sorted. `column_absmax` [K] is of x.
std::vector<int32_t> OutlierColumnsOf(absl::Span<const float> column_absmax,
                                      absl::Span<const float> smoothing,
                                      float threshold);

// Beyond this share of the columns the 16-bit part costs more than it saves.
inline constexpr double kManyOutliers = 0.25;

struct OutlierShares {
  double features = 0.0;  // of the K columns: those that stay FP16
  double values = 0.0;    // of the values: those that reach the threshold
};

// Of sample rows of x. With a rotation, live values are the rotated ones.
OutlierShares MeasureOutliers(const LayerPlan& plan,
                              kernels::MatrixView<const float> x);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_METHODS_OUTLIERS_H_
