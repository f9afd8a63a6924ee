#include "server/quantization/search/trial_tensors.h"

#include <algorithm>
#include <span>
#include <utility>

#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/quantization/storage/storage.h"

namespace octet::quantization {

using model::DataType;
using model::StrCat;
using model::TensorView;

std::vector<std::string> TrialTensors::Names() const {
  std::vector<std::string> names = checkpoint_.Names();
  for (const auto& [name, tensor] : put_) names.push_back(name);
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

absl::StatusOr<TensorView> TrialTensors::Find(std::string_view name) const {
  for (const Tensors* tensors : {&put_, &rounded_}) {
    const auto found = tensors->find(name);
    if (found == tensors->end()) continue;
    const Tensor& tensor = found->second;
    return TensorView{tensor.type, tensor.shape, tensor.bytes};
  }
  return checkpoint_.Find(name);
}

void TrialTensors::Put(const model::Linear& linear, const LayerPlan& plan,
                       const QuantizedLayer& layer) {
  Remove(linear);
  const auto n = static_cast<int64_t>(linear.out_features);
  const auto k = static_cast<int64_t>(linear.in_features);
  const auto set = [&]<typename T>(const char* part, DataType type,
                                   std::vector<int64_t> shape,
                                   absl::Span<const T> values) {
    const std::string name = StrCat(linear.layer, part);
    const auto bytes = std::as_bytes(std::span(values.data(), values.size()));
    put_[name] = {type, std::move(shape), {bytes.begin(), bytes.end()}};
    parts_[linear.layer].push_back(name);
  };
  set(".weight", DataType::kI8, {n, k}, absl::MakeConstSpan(layer.codes));
  const auto groups = static_cast<int64_t>(layer.scales.size()) / n;
  set(".weight_scale", DataType::kF32, {n, groups},
      absl::MakeConstSpan(layer.scales));
  if (!layer.bias.empty()) {
    set(".bias", DataType::kF32, {n}, absl::MakeConstSpan(layer.bias));
  }
  if (!layer.inverse_smoothing.empty()) {
    set(".inverse_smoothing", DataType::kF32, {k},
        absl::MakeConstSpan(layer.inverse_smoothing));
  }
  if (plan.scheme.scheme == model::Scheme::kW8A8Static) {
    const float scale = plan.input.scale;
    const auto zero_point = static_cast<int8_t>(plan.input.zero_point - 128);
    set(".input_scale", DataType::kF32, {1}, absl::MakeConstSpan(&scale, 1));
    set(".input_zero_point", DataType::kI8, {1},
        absl::MakeConstSpan(&zero_point, 1));
  }
  if (const auto c = static_cast<int64_t>(layer.outlier_columns.size());
      c > 0) {
    set(".outlier_columns", DataType::kI32, {c},
        absl::MakeConstSpan(layer.outlier_columns));
    set(".outlier_weight", DataType::kF16, {c, n},
        absl::MakeConstSpan(layer.outlier_weights));
  }
}

absl::Status TrialTensors::Round(const std::string& name, DataType type) {
  ASSIGN_OR_RETURN(const TensorView tensor, checkpoint_.Find(name));
  if (tensor.type == type) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<float> values, ReadFloat(tensor, name));
  rounded_[name] = {type, tensor.shape, EncodeFloat(values, type)};
  return absl::OkStatus();
}

void TrialTensors::Remove(const model::Linear& linear) {
  const auto parts = parts_.find(linear.layer);
  if (parts == parts_.end()) return;
  for (const std::string& name : parts->second) put_.erase(name);
  parts_.erase(parts);
}

uint64_t TrialTensors::StoredBytes(const model::Linear& linear) const {
  uint64_t bytes = 0;
  const auto parts = parts_.find(linear.layer);
  if (parts == parts_.end()) return bytes;
  for (const std::string& name : parts->second) {
    bytes += put_.find(name)->second.bytes.size();
  }
  return bytes;
}

}  // namespace octet::quantization
