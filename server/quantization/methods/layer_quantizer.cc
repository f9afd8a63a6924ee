#include "server/quantization/methods/layer_quantizer.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "kernels/half.h"
#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/quantization/calibration/layer_samples.h"
#include "server/quantization/methods/bias_correction.h"
#include "server/quantization/methods/gptq.h"
#include "server/quantization/methods/input_transform.h"
#include "server/quantization/methods/weight_quantizer.h"

namespace octet::quantization {
namespace {

using kernels::MatrixView;
using model::StrCat;

constexpr size_t kRowsAtOnce = 256;  // what is held besides weights and codes

absl::Status CheckPlan(std::string_view name, MatrixView<const float> weight,
                       const LayerPlan& plan) {
  const auto fail = [&](const std::string& problem) {
    return absl::InvalidArgumentError(StrCat("tensor '", name, "': ", problem));
  };
  if (!model::IsInt8(plan.scheme.scheme)) {
    return fail(StrCat("scheme ", model::Name(plan.scheme.scheme),
                       " is not one of INT8"));
  }
  if (const absl::Status status = Validate(plan.scheme); !status.ok()) {
    return fail(std::string(status.message()));
  }
  const bool smooths = plan.scheme.smoothed || !plan.smoothing.empty();
  if (smooths && plan.smoothing.size() != weight.cols) {
    return fail(StrCat("smoothing has ", plan.smoothing.size(), " factors for ",
                       weight.cols, " columns"));
  }
  for (const float factor : plan.smoothing) {
    if (std::isnormal(factor) && factor > 0 && std::isnormal(1.0F / factor)) {
      continue;
    }
    return fail(StrCat("a smoothing factor of ", factor,
                       "; factors are positive, and so are their inverses"));
  }
  int64_t lowest = 0;
  for (const int32_t column : plan.outlier_columns) {
    if (column < lowest || column >= static_cast<int64_t>(weight.cols)) {
      return fail(StrCat("outlier column ", column, " where one from ", lowest,
                         " to ", weight.cols - 1, " was expected"));
    }
    lowest = int64_t{column} + 1;
  }
  return absl::OkStatus();
}

absl::Status CheckWeights(std::string_view name,
                          MatrixView<const float> weight) {
  const std::array<int64_t, 2> shape = {static_cast<int64_t>(weight.rows),
                                        static_cast<int64_t>(weight.cols)};
  for (size_t n = 0; n < weight.rows; ++n) {
    const absl::Span<const float> row(weight.row(n), weight.cols);
    RETURN_IF_ERROR(CheckFinite(name, row, shape, n * weight.cols));
  }
  return absl::OkStatus();
}

// FP16 bits [columns, N] of the smoothed weights.
absl::StatusOr<std::vector<uint16_t>> OutlierWeights(
    std::string_view name, MatrixView<const float> weight,
    const InputTransform& transform) {
  std::vector<uint16_t> bits;
  bits.reserve(transform.outlier_columns.size() * weight.rows);
  for (const int32_t column : transform.outlier_columns) {
    for (size_t n = 0; n < weight.rows; ++n) {
      float value = weight.row(n)[column];
      if (!transform.inverse_smoothing.empty()) {
        value /= transform.inverse_smoothing[column];
      }
      bits.push_back(kernels::FloatToFp16(value));
      if (std::isfinite(kernels::Fp16ToFloat(bits.back()))) continue;
      return absl::InvalidArgumentError(absl::StrFormat(
          "tensor '%s' holds %g at index [%d, %d], in an outlier column: too "
          "large for FP16; exclude the layer or choose another scheme",
          name, value, n, column));
    }
  }
  return bits;
}

// Names the tensor in errors about its samples.
absl::StatusOr<const ErrorCompensation*> Compensation(
    std::string_view name, const LayerPlan& plan, const LayerSamples& samples,
    kernels::ThreadPool* pool, Compensations& shared) {
  if (samples.rows.rows == 0) {
    return absl::FailedPreconditionError(
        StrCat("tensor '", name,
               "': error compensation needs rows of the layer's input, and "
               "calibration kept none; calibrate, or round to nearest"));
  }
  auto compensation = shared.For(samples.rows, plan, pool);
  if (compensation.ok()) return compensation;
  return absl::Status(compensation.status().code(),
                      StrCat("tensor '", name, "': ",
                             std::string(compensation.status().message())));
}

absl::StatusOr<std::vector<float>> CorrectBias(std::string_view name,
                                               MatrixView<const float> weight,
                                               absl::Span<const float> bias,
                                               const LayerPlan& plan,
                                               const QuantizedLayer& layer,
                                               const LayerSamples& samples,
                                               kernels::ThreadPool* pool) {
  if (samples.rows.rows == 0) {
    return absl::FailedPreconditionError(
        StrCat("tensor '", name,
               "': bias correction needs rows of the layer's input, and "
               "calibration kept none; calibrate, or do without it"));
  }
  ASSIGN_OR_RETURN(const kernels::Int8Linear int8,
                   kernels::Int8Linear::Create(
                       SpecOf(plan, layer, weight.rows, weight.cols, bias)));
  return CorrectedBias(weight, bias, int8, samples.rows, pool);
}

// Codes and scales of a layer, some rows at a time.
class RowQuantizer {
 public:
  RowQuantizer(MatrixView<const float> weight, const LayerPlan& plan,
               const InputTransform& transform, kernels::ThreadPool* pool,
               QuantizedLayer& layer)
      : weight_(weight),
        group_size_(plan.scheme.group_size),
        groups_(GroupsOf(weight.cols, group_size_)),
        transform_(transform),
        pool_(pool),
        layer_(layer) {
    layer_.codes.resize(weight.rows * weight.cols);
    layer_.scales.resize(weight.rows * groups_);
  }

  absl::Status Run(const ErrorCompensation* compensation) {
    std::vector<float> rows(std::min(kRowsAtOnce, weight_.rows) * weight_.cols);
    for (size_t at = 0; at < weight_.rows; at += kRowsAtOnce) {
      const size_t count = std::min(kRowsAtOnce, weight_.rows - at);
      const MatrixView<float> stripe(rows.data(), count, weight_.cols);
      const auto body = [&](size_t i) {
        Prepare(at + i, stripe.Rows(i, 1));
        if (compensation == nullptr) Round(at + i, stripe.row(i));
      };
      if (pool_ != nullptr) {
        pool_->ParallelFor(count, body);
      } else {
        for (size_t i = 0; i < count; ++i) body(i);
      }
      if (compensation == nullptr) continue;
      RETURN_IF_ERROR(compensation->Round(
          stripe, {scales(at), count * groups_}, group_size_, pool_,
          layer_.codes.data() + at * weight_.cols));
    }
    layer_.zero_channels = zero_channels_;
    return absl::OkStatus();
  }

 private:
  float* scales(size_t row) { return layer_.scales.data() + row * groups_; }

  // The transformed row and its scales.
  void Prepare(size_t n, MatrixView<float> row) {
    const float* const values = weight_.row(n);
    if (std::all_of(values, values + weight_.cols,
                    [](float value) { return value == 0.0F; })) {
      zero_channels_.fetch_add(1, std::memory_order_relaxed);
    }
    std::copy_n(values, weight_.cols, row.data);
    transform_.ApplyToWeights(row);
    ScaleRow({row.data, row.cols}, group_size_, scales(n));
  }

  void Round(size_t n, const float* row) {
    RoundRow({row, weight_.cols}, scales(n), group_size_,
             layer_.codes.data() + n * weight_.cols);
  }

  MatrixView<const float> weight_;
  size_t group_size_;
  size_t groups_;
  const InputTransform& transform_;
  kernels::ThreadPool* pool_;
  QuantizedLayer& layer_;
  std::atomic<size_t> zero_channels_ = 0;
};

}  // namespace

absl::StatusOr<QuantizedLayer> QuantizeLayer(std::string_view name,
                                             MatrixView<const float> weight,
                                             absl::Span<const float> bias,
                                             const LayerPlan& plan,
                                             const LayerSamples& samples,
                                             kernels::ThreadPool* pool,
                                             Compensations* shared) {
  RETURN_IF_ERROR(CheckPlan(name, weight, plan));
  RETURN_IF_ERROR(CheckWeights(name, weight));
  const InputTransform transform(plan);
  QuantizedLayer layer;
  layer.outlier_columns = plan.outlier_columns;
  ASSIGN_OR_RETURN(layer.outlier_weights,
                   OutlierWeights(name, weight, transform));
  layer.inverse_smoothing = transform.inverse_smoothing;
  RowQuantizer quantizer(weight, plan, transform, pool, layer);
  if (plan.rounding == Rounding::kGptq) {
    Compensations own;
    ASSIGN_OR_RETURN(const ErrorCompensation* compensation,
                     Compensation(name, plan, samples, pool,
                                  shared == nullptr ? own : *shared));
    RETURN_IF_ERROR(quantizer.Run(compensation));
  } else {
    RETURN_IF_ERROR(quantizer.Run(nullptr));
  }
  if (plan.bias_correction && !bias.empty()) {
    ASSIGN_OR_RETURN(layer.bias, CorrectBias(name, weight, bias, plan, layer,
                                             samples, pool));
  }
  if (!plan.scheme.smoothed) layer.inverse_smoothing.clear();
  return layer;
}

kernels::Int8LinearSpec SpecOf(const LayerPlan& plan,
                               const QuantizedLayer& layer, size_t n, size_t k,
                               absl::Span<const float> bias) {
  kernels::Int8LinearSpec spec;
  spec.codes = {layer.codes.data(), n, k};
  spec.scales = layer.scales;
  spec.group_size = plan.scheme.group_size;
  spec.bias = bias;
  if (plan.scheme.scheme == model::Scheme::kW8A8Static) {
    spec.coding = kernels::ActivationCoding::kStaticAffine;
    spec.input_scale = plan.input.scale;
    spec.input_zero_point = plan.input.zero_point;
  }
  spec.outlier_columns = layer.outlier_columns;
  spec.outlier_weights = {layer.outlier_weights.data(),
                          layer.outlier_columns.size(), n};
  spec.outlier_threshold = plan.scheme.outlier_threshold;
  spec.inverse_smoothing = layer.inverse_smoothing;
  spec.hadamard_block = plan.scheme.hadamard_block;
  return spec;
}

}  // namespace octet::quantization
