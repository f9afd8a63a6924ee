#include "server/quantization/methods/smoothing.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "kernels/float_linear.h"
#include "kernels/status_macros.h"
#include "server/quantization/calibration/layer_samples.h"
#include "server/quantization/methods/input_transform.h"
#include "server/quantization/methods/layer_quantizer.h"

namespace octet::quantization {
namespace {

using kernels::MatrixView;

constexpr int kTrials = 21;  // alpha in steps of 0.05
// Far beyond what helps; inside, neither weights nor inputs leave FP32.
constexpr double kLargest = 1 << 20;

// The extremes of what will be coded; kW8A8Static only.
AffineParameters StaticRange(const LayerPlan& plan, MatrixView<const float> x) {
  const std::vector<float> coded = TransformedInputs(plan, x);
  const auto [low, high] = std::minmax_element(coded.begin(), coded.end());
  return AffineFromRange(*low, *high);
}

// sum (y - y_int8)^2 / sum y^2, y [R, N] being the float layer's.
absl::StatusOr<double> RelativeError(MatrixView<const float> weight,
                                     const LayerPlan& plan,
                                     MatrixView<const float> x,
                                     const std::vector<float>& y,
                                     kernels::ThreadPool* pool) {
  ASSIGN_OR_RETURN(const QuantizedLayer layer,
                   QuantizeLayer("weight", weight, {}, plan, {}, pool));
  ASSIGN_OR_RETURN(const kernels::Int8Linear int8,
                   kernels::Int8Linear::Create(SpecOf(
                       plan, layer, weight.rows, weight.cols, /*bias=*/{})));
  std::vector<float> actual(y.size());
  kernels::LinearCall call;
  call.pool = pool;
  RETURN_IF_ERROR(int8.Run(x, {actual.data(), x.rows, weight.rows}, call));
  double error = 0.0;
  double power = 0.0;
  for (size_t i = 0; i < y.size(); ++i) {
    const double difference = static_cast<double>(y[i]) - actual[i];
    error += difference * difference;
    power += static_cast<double>(y[i]) * y[i];
  }
  return power > 0.0 ? error / power : error;
}

absl::StatusOr<std::vector<float>> FloatOutput(MatrixView<const float> weight,
                                               MatrixView<const float> x,
                                               kernels::ThreadPool* pool) {
  ASSIGN_OR_RETURN(const kernels::FloatLinear linear,
                   kernels::FloatLinear::Create(weight, {}));
  std::vector<float> y(x.rows * weight.rows);
  kernels::LinearCall call;
  call.pool = pool;
  RETURN_IF_ERROR(linear.Run(x, {y.data(), x.rows, weight.rows}, call));
  return y;
}

}  // namespace

std::vector<float> SmoothingFactors(absl::Span<const float> input_absmax,
                                    absl::Span<const float> weight_absmax,
                                    float alpha) {
  std::vector<float> factors(input_absmax.size(), 1.0F);
  for (size_t k = 0; k < factors.size(); ++k) {
    if (input_absmax[k] == 0.0F || weight_absmax[k] == 0.0F) continue;
    const double factor =
        std::pow(static_cast<double>(input_absmax[k]), alpha) /
        std::pow(static_cast<double>(weight_absmax[k]), 1.0 - alpha);
    factors[k] =
        static_cast<float>(std::clamp(factor, 1.0 / kLargest, kLargest));
  }
  return factors;
}

absl::StatusOr<SmoothingChoice> SearchSmoothing(
    absl::Span<const float> input_absmax, const SharedWeights& shared,
    const LayerPlan& plan, MatrixView<const float> x,
    kernels::ThreadPool* pool) {
  const absl::Span<const MatrixView<const float>> weights = shared.rows();
  if (x.rows == 0) {
    return absl::FailedPreconditionError(
        "the smoothing is searched on rows of the layer's input, and "
        "calibration kept none; calibrate, or give alpha");
  }
  x.rows = std::min(x.rows, kSmoothingRows);
  std::vector<std::vector<float>> outputs;
  for (const MatrixView<const float>& weight : weights) {
    ASSIGN_OR_RETURN(outputs.emplace_back(), FloatOutput(weight, x, pool));
  }
  LayerPlan trial = plan;
  trial.scheme.smoothed = true;
  trial.rounding = Rounding::kNearest;
  trial.bias_correction = false;
  SmoothingChoice choice;
  for (int i = 0; i < kTrials; ++i) {
    const float alpha = static_cast<float>(i) / (kTrials - 1);
    trial.smoothing =
        SmoothingFactors(input_absmax, shared.column_absmax(), alpha);
    if (plan.scheme.scheme == model::Scheme::kW8A8Static) {
      trial.input = StaticRange(trial, x);
    }
    double error = 0.0;
    for (size_t layer = 0; layer < weights.size(); ++layer) {
      ASSIGN_OR_RETURN(
          const double relative,
          RelativeError(weights[layer], trial, x, outputs[layer], pool));
      error += relative / static_cast<double>(weights.size());
    }
    if (i > 0 && error >= choice.error) continue;
    choice = {.alpha = alpha, .factors = trial.smoothing, .error = error};
  }
  return choice;
}

}  // namespace octet::quantization
