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

constexpr int kSteps = 20;  // of alpha, from 0 to 1
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

// The layers that share an input, quantized behind one smoothing or another.
class SmoothingTrials {
 public:
  SmoothingTrials(absl::Span<const float> input_absmax,
                  const SharedWeights& weights, const LayerPlan& plan,
                  MatrixView<const float> x, kernels::ThreadPool* pool)
      : input_absmax_(input_absmax),
        weights_(weights),
        trial_(plan),
        x_(x),
        pool_(pool) {
    trial_.scheme.smoothed = true;
    trial_.rounding = Rounding::kNearest;
    trial_.bias_correction = false;
  }

  absl::Status Prepare() {
    for (const MatrixView<const float>& weight : weights_.rows()) {
      ASSIGN_OR_RETURN(outputs_.emplace_back(), FloatOutput(weight, x_, pool_));
    }
    return absl::OkStatus();
  }

  absl::Status Try(int step) {
    const float alpha = static_cast<float>(step) / kSteps;
    trial_.smoothing =
        SmoothingFactors(input_absmax_, weights_.column_absmax(), alpha);
    if (trial_.scheme.scheme == model::Scheme::kW8A8Static) {
      trial_.input = StaticRange(trial_, x_);
    }
    const auto layers = weights_.rows();
    double error = 0.0;
    for (size_t i = 0; i < layers.size(); ++i) {
      ASSIGN_OR_RETURN(
          const double relative,
          RelativeError(layers[i], trial_, x_, outputs_[i], pool_));
      error += relative / static_cast<double>(layers.size());
    }
    if (best_step_ >= 0 && error >= best_.error) return absl::OkStatus();
    best_step_ = step;
    best_ = {.alpha = alpha, .factors = trial_.smoothing, .error = error};
    return absl::OkStatus();
  }

  int best_step() const { return best_step_; }
  const SmoothingChoice& best() const { return best_; }

 private:
  const absl::Span<const float> input_absmax_;
  const SharedWeights& weights_;
  LayerPlan trial_;
  const MatrixView<const float> x_;
  kernels::ThreadPool* const pool_;
  std::vector<std::vector<float>> outputs_;  // of the float layers
  SmoothingChoice best_;
  int best_step_ = -1;
};

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
  if (x.rows == 0) {
    return absl::FailedPreconditionError(
        "the smoothing is searched on rows of the layer's input, and "
        "calibration kept none; calibrate, or give alpha");
  }
  x.rows = std::min(x.rows, kSmoothingRows);
  SmoothingTrials trials(input_absmax, shared, plan, x, pool);
  RETURN_IF_ERROR(trials.Prepare());
  for (int step = 0; step <= kSteps; step += 2) {
    RETURN_IF_ERROR(trials.Try(step));
  }
  // The error has one valley, but for noise that is less than a step makes.
  const int coarse = trials.best_step();
  if (coarse > 0) RETURN_IF_ERROR(trials.Try(coarse - 1));
  if (coarse < kSteps) RETURN_IF_ERROR(trials.Try(coarse + 1));
  return trials.best();
}

}  // namespace octet::quantization
