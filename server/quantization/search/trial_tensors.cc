#include "server/quantization/search/trial_tensors.h"

#include <algorithm>
#include <cstring>
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
  for (const auto& [name, tensor] : tensors_) names.push_back(name);
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

absl::StatusOr<TensorView> TrialTensors::Find(std::string_view name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return checkpoint_.Find(name);
  const Tensor& tensor = found->second;
  return TensorView{tensor.type, tensor.shape, tensor.bytes};
}

template <typename T>
void TrialTensors::Set(const std::string& name, DataType type,
                       std::vector<int64_t> shape, absl::Span<const T> values) {
  Tensor& tensor = tensors_[name];
  tensor.type = type;
  tensor.shape = std::move(shape);
  tensor.bytes.resize(values.size() * sizeof(T));
  if (!values.empty()) {
    std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  }
}

void TrialTensors::Put(const model::Linear& linear, const LayerPlan& plan,
                       const QuantizedLayer& layer) {
  Remove(linear);
  const auto n = static_cast<int64_t>(linear.out_features);
  const auto k = static_cast<int64_t>(linear.in_features);
  const auto name = [&](const char* part) {
    return StrCat(linear.layer, part);
  };
  Set<int8_t>(name(".weight"), DataType::kI8, {n, k}, layer.codes);
  const auto groups = static_cast<int64_t>(layer.scales.size()) / n;
  Set<float>(name(".weight_scale"), DataType::kF32, {n, groups}, layer.scales);
  if (!layer.bias.empty()) {
    Set<float>(name(".bias"), DataType::kF32, {n}, layer.bias);
  }
  if (!layer.inverse_smoothing.empty()) {
    Set<float>(name(".inverse_smoothing"), DataType::kF32, {k},
               layer.inverse_smoothing);
  }
  if (plan.scheme.scheme == model::Scheme::kW8A8Static) {
    const float scale = plan.input.scale;
    const auto zero_point = static_cast<int8_t>(plan.input.zero_point - 128);
    Set<float>(name(".input_scale"), DataType::kF32, {1}, {&scale, 1});
    Set<int8_t>(name(".input_zero_point"), DataType::kI8, {1},
                {&zero_point, 1});
  }
  if (const auto c = static_cast<int64_t>(layer.outlier_columns.size());
      c > 0) {
    Set<int32_t>(name(".outlier_columns"), DataType::kI32, {c},
                 layer.outlier_columns);
    Set<uint16_t>(name(".outlier_weight"), DataType::kF16, {c, n},
                  layer.outlier_weights);
  }
}

absl::Status TrialTensors::Round(const std::string& name, DataType type) {
  ASSIGN_OR_RETURN(const TensorView tensor, checkpoint_.Find(name));
  if (tensor.type == type) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<float> values, ReadFloat(tensor, name));
  tensors_[name] = {type, tensor.shape, EncodeFloat(values, type)};
  return absl::OkStatus();
}

void TrialTensors::Remove(const model::Linear& linear) {
  const std::string prefix = StrCat(linear.layer, ".");
  std::erase_if(tensors_, [&](const auto& entry) {
    return entry.first.starts_with(prefix);
  });
}

uint64_t TrialTensors::StoredBytes(const model::Linear& linear) const {
  uint64_t bytes = 0;
  const std::string prefix = StrCat(linear.layer, ".");
  for (auto it = tensors_.lower_bound(prefix);
       it != tensors_.end() && it->first.starts_with(prefix); ++it) {
    bytes += it->second.bytes.size();
  }
  return bytes;
}

}  // namespace octet::quantization
