#include "server/serving/drift.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "server/model/scheme.h"
#include "server/model/tensor.h"

namespace octet::serving {
namespace {

using model::TensorSource;

// The only element of a tensor of T; `missing` without such a tensor.
template <typename T>
T Scalar(const TensorSource& tensors, const std::string& name, T missing) {
  const auto tensor = tensors.Find(name);
  T value = missing;
  if (tensor.ok() && tensor->bytes.size() == sizeof(T)) {
    std::memcpy(&value, tensor->bytes.data(), sizeof(T));
  }
  return value;
}

std::vector<float> Floats(const TensorSource& tensors,
                          const std::string& name) {
  const auto tensor = tensors.Find(name);
  if (!tensor.ok()) return {};
  std::vector<float> values(tensor->bytes.size() / sizeof(float));
  std::memcpy(values.data(), tensor->bytes.data(),
              values.size() * sizeof(float));
  return values;
}

void SetStaticRange(const TensorSource& tensors, const std::string& layer,
                    const model::LinearScheme& scheme, InputLimits& limits) {
  if (scheme.scheme != model::Scheme::kW8A8Static ||
      scheme.hadamard_block != 0) {
    return;
  }
  constexpr float kLowestCode = -0.5F;
  constexpr float kHighestCode = 255.5F;
  const float scale = Scalar(tensors, layer + ".input_scale", 0.0F);
  const int8_t stored = Scalar(tensors, layer + ".input_zero_point", int8_t{0});
  const float zero_point = static_cast<float>(stored) + 128;
  limits.low = (kLowestCode - zero_point) * scale;
  limits.high = (kHighestCode - zero_point) * scale;
  if (scheme.smoothed) {
    limits.factors = Floats(tensors, layer + ".inverse_smoothing");
  }
}

uint64_t CountOutside(const InputLimits& limits, const float* row,
                      size_t columns) {
  uint64_t outside = 0;
  for (size_t k = 0; k < columns; ++k) {
    const float x =
        limits.factors.empty() ? row[k] : row[k] * limits.factors[k];
    outside += x < limits.low || x > limits.high;
  }
  return outside;
}

float AbsMax(const float* row, size_t columns) {
  float largest = 0;
  for (size_t k = 0; k < columns; ++k) {
    largest = std::max(largest, std::abs(row[k]));
  }
  return largest;
}

}  // namespace

LimitsByLayer LimitsOf(const bundle::Bundle& bundle) {
  LimitsByLayer by_layer;
  for (const auto& [layer, scheme] : bundle.manifest.plan) {
    if (!model::IsInt8(scheme.scheme)) continue;
    InputLimits limits;
    limits.kind = model::LayerKind(layer);
    const auto seen = bundle.manifest.statistics.find(layer);
    if (seen != bundle.manifest.statistics.end()) {
      limits.absmax = seen->second.absmax;
    }
    SetStaticRange(*bundle.files.tensors, layer, scheme, limits);
    by_layer.emplace(layer, std::move(limits));
  }
  return by_layer;
}

absl::Status DriftObserver::OnLinear(const model::Linear& linear,
                                     kernels::MatrixView<const float> x,
                                     kernels::MatrixView<const float> /*y*/) {
  OnRows(linear.layer, x);
  return absl::OkStatus();
}

void DriftObserver::OnRows(std::string_view layer,
                           kernels::MatrixView<const float> x) {
  const auto found = limits_.find(layer);
  if (found == limits_.end()) return;
  const InputLimits& limits = found->second;
  const bool is_static =
      limits.low < limits.high &&
      (limits.factors.empty() || limits.factors.size() == x.cols);
  Drift& drift = drift_[limits.kind];
  float absmax = 0;
  for (size_t row = 0; row < x.rows; ++row) {
    absmax = std::max(absmax, AbsMax(x.row(row), x.cols));
    if (is_static) drift.saturated += CountOutside(limits, x.row(row), x.cols);
  }
  if (is_static) drift.codes += static_cast<uint64_t>(x.rows) * x.cols;
  if (limits.absmax > 0) drift.range_ratios.push_back(absmax / limits.absmax);
}

}  // namespace octet::serving
