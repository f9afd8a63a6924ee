#include "server/serving/describe_model.h"

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "server/model/linear_layer.h"
#include "server/model/scheme.h"

namespace octet::serving {
namespace {

using model::DataType;
using telemetry::WeightBytes;

constexpr uint64_t kFp32Bytes = 4;

// Tensors that a quantized layer has besides its weight and bias.
bool BelongsToQuantization(std::string_view suffix) {
  return suffix == "weight_scale" || suffix == "input_scale" ||
         suffix == "input_zero_point" || suffix == "outlier_columns";
}

// The member that counts a tensor; nullptr for integers that are no weights
// (buffers such as position ids).
uint64_t WeightBytes::* Precision(DataType type, std::string_view suffix) {
  if (BelongsToQuantization(suffix)) return &WeightBytes::int8;
  switch (type) {
    case DataType::kI8:
    case DataType::kU8:
      return &WeightBytes::int8;
    case DataType::kF16:
      return &WeightBytes::fp16;
    case DataType::kBF16:
      return &WeightBytes::bf16;
    case DataType::kF32:
      return &WeightBytes::fp32;
    default:
      return nullptr;
  }
}

void Add(std::string_view name, const model::TensorView& tensor,
         const std::set<std::string, std::less<>>& linears,
         WeightBytes& bytes) {
  const size_t dot = name.rfind('.');
  const std::string_view layer =
      dot == std::string_view::npos ? "" : name.substr(0, dot);
  const std::string_view suffix = name.substr(layer.empty() ? 0 : dot + 1);
  uint64_t WeightBytes::* precision = Precision(tensor.type, suffix);
  if (precision == nullptr) return;
  const uint64_t as_fp32 =
      BelongsToQuantization(suffix) || suffix == "outlier_weight"
          ? 0
          : kFp32Bytes * static_cast<uint64_t>(tensor.elements());
  bytes.*precision += tensor.bytes.size();
  bytes.as_fp32 += as_fp32;
  if (suffix != "bias" && linears.contains(layer)) {
    bytes.linear += tensor.bytes.size();
    bytes.linear_as_fp32 += as_fp32;
  }
}

}  // namespace

telemetry::ModelDescription Describe(const model::Model& model,
                                     const model::TensorSource& tensors) {
  telemetry::ModelDescription description;
  description.resident_bytes = model.resident_bytes();
  std::set<std::string, std::less<>> linears;
  std::set<std::pair<std::string, std::string>> kernels;
  for (const model::Linear* linear : model.graph().Linears()) {
    linears.insert(linear->layer);
    const auto scheme = model.plan().find(linear->layer);
    if (scheme == model.plan().end() || !model::IsInt8(scheme->second.scheme)) {
      continue;
    }
    if (const auto layer = model.FindLinear(linear->layer); layer.ok()) {
      kernels.emplace((*layer)->isa(), (*layer)->kernel_name());
    }
    uint64_t& outliers =
        description.outlier_features_by_kind[model::LayerKind(linear->layer)];
    const auto columns = tensors.Find(linear->layer + ".outlier_columns");
    if (columns.ok()) outliers += static_cast<uint64_t>(columns->elements());
  }
  description.kernels.assign(kernels.begin(), kernels.end());
  for (const std::string& name : tensors.Names()) {
    if (const auto tensor = tensors.Find(name); tensor.ok()) {
      Add(name, *tensor, linears, description.bytes);
    }
  }
  return description;
}

}  // namespace octet::serving
