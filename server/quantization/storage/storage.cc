#include "server/quantization/storage/storage.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "kernels/half.h"
#include "kernels/status_macros.h"
#include "server/model/layer_norm_names.h"
#include "server/model/str_cat.h"
#include "server/quantization/methods/float_blocks.h"

namespace octet::quantization {
namespace {

using model::DataType;
using model::Linear;
using model::Scheme;
using model::StrCat;
using model::TensorView;

DataType TypeOf(Scheme scheme) {
  switch (scheme) {
    case Scheme::kFp16:
      return DataType::kF16;
    case Scheme::kBf16:
      return DataType::kBF16;
    default:
      return DataType::kF32;
  }
}

Scheme SchemeOf(DataType type) {
  switch (type) {
    case DataType::kF16:
      return Scheme::kFp16;
    case DataType::kBF16:
      return Scheme::kBf16;
    default:
      return Scheme::kFp32;
  }
}

bool Fits(float absmax, DataType type) {
  switch (type) {
    case DataType::kF16:
      return std::isfinite(kernels::Fp16ToFloat(kernels::FloatToFp16(absmax)));
    case DataType::kBF16:
      return std::isfinite(kernels::Bf16ToFloat(kernels::FloatToBf16(absmax)));
    default:
      return true;
  }
}

// The type asked for, or the smallest one with the range for `absmax`.
DataType TypeThatFits(float absmax, DataType wanted) {
  for (const DataType type : {wanted, DataType::kBF16}) {
    if (Fits(absmax, type)) return type;
  }
  return DataType::kF32;
}

absl::StatusOr<DataType> ChooseType(const StoredTensor& tensor,
                                    const model::TensorSource& checkpoint,
                                    DataType wanted, kernels::ThreadPool* pool,
                                    std::vector<std::string>& warnings) {
  const std::string& name = tensor.name;
  float absmax = 0.0F;
  RETURN_IF_ERROR(
      ForEachBlock(checkpoint, name, tensor.divisors, BlockElements(1), pool,
                   [&](size_t /*first*/, absl::Span<const float> values) {
                     for (const float value : values) {
                       absmax = std::max(absmax, std::fabs(value));
                     }
                     return absl::OkStatus();
                   }));
  const DataType type = TypeThatFits(absmax, wanted);
  if (type != wanted) {
    warnings.push_back(absl::StrFormat(
        "tensor '%s' holds values up to %g, too large for %s; it is stored "
        "as %s",
        name, absmax, std::string(model::Name(wanted)),
        std::string(model::Name(type))));
  }
  return type;
}

void EncodeFloats(absl::Span<const float> values, DataType type,
                  std::byte* out) {
  if (type == DataType::kF32) {
    std::memcpy(out, values.data(), values.size() * sizeof(float));
    return;
  }
  const auto encode =
      type == DataType::kF16 ? kernels::FloatToFp16 : kernels::FloatToBf16;
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = encode(values[i]);
    std::memcpy(out + i * sizeof(bits), &bits, sizeof(bits));
  }
}

std::vector<bundle::TensorInfo> Int8Parts(const Linear& linear,
                                          const LayerPlan& plan) {
  const auto n = static_cast<int64_t>(linear.out_features);
  const auto k = static_cast<int64_t>(linear.in_features);
  const int64_t group = plan.scheme.group_size;
  const int64_t groups = group == 0 ? 1 : (k + group - 1) / group;
  std::vector<bundle::TensorInfo> parts = {
      {StrCat(linear.layer, ".weight"), DataType::kI8, {n, k}},
      {StrCat(linear.layer, ".weight_scale"), DataType::kF32, {n, groups}},
  };
  if (CorrectsBias(linear, plan)) {
    parts.push_back({StrCat(linear.layer, ".bias"), DataType::kF32, {n}});
  }
  if (plan.scheme.smoothed) {
    parts.push_back(
        {StrCat(linear.layer, ".inverse_smoothing"), DataType::kF32, {k}});
  }
  if (plan.scheme.scheme == Scheme::kW8A8Static) {
    parts.push_back(
        {StrCat(linear.layer, ".input_scale"), DataType::kF32, {1}});
    parts.push_back(
        {StrCat(linear.layer, ".input_zero_point"), DataType::kI8, {1}});
  }
  if (const auto columns = static_cast<int64_t>(plan.outlier_columns.size());
      columns > 0) {
    parts.push_back(
        {StrCat(linear.layer, ".outlier_columns"), DataType::kI32, {columns}});
    parts.push_back({StrCat(linear.layer, ".outlier_weight"),
                     DataType::kF16,
                     {columns, n}});
  }
  return parts;
}

// What folded smoothing divides, by tensor.
struct Divided {
  absl::Span<const float> factors;
  bool of_norm = false;
};

std::map<std::string, Divided> DividedTensors(
    const model::TensorSource& checkpoint, const QuantizationPlan& plan) {
  std::map<std::string, Divided> divided;
  for (const auto& [layer, factors] : plan.folds.divided) {
    const model::LayerNormNames names =
        model::FindLayerNormNames(checkpoint, layer);
    const bool of_norm = !plan.layers.contains(layer);
    divided[names.weight] = {factors, of_norm};
    divided[names.bias] = {factors, of_norm};
  }
  return divided;
}

}  // namespace

bool CorrectsBias(const Linear& linear, const LayerPlan& plan) {
  return plan.bias_correction && linear.has_bias &&
         model::IsInt8(plan.scheme.scheme);
}

absl::StatusOr<std::vector<StoredTensor>> PlanStorage(
    const model::Graph& graph, const model::TensorSource& checkpoint,
    Scheme float_scheme, const std::function<bool()>& cancelled,
    kernels::ThreadPool* pool, QuantizationPlan& plan) {
  std::map<std::string, const Linear*> linear_of;
  std::set<std::string> corrected;  // biases
  for (const Linear* linear : graph.Linears()) {
    linear_of.emplace(StrCat(linear->layer, ".weight"), linear);
    if (CorrectsBias(*linear, plan.layers[linear->layer])) {
      corrected.insert(StrCat(linear->layer, ".bias"));
    }
  }
  const std::map<std::string, Divided> divided =
      DividedTensors(checkpoint, plan);
  std::vector<StoredTensor> stored;
  for (const std::string& name : checkpoint.Names()) {
    if (cancelled && cancelled()) {
      return absl::CancelledError("the quantization was cancelled");
    }
    if (corrected.contains(name)) continue;
    ASSIGN_OR_RETURN(const TensorView tensor, checkpoint.Find(name));
    const auto linear = linear_of.find(name);
    StoredTensor item{
        .name = name, .type = tensor.type, .parts = {}, .divisors = {}};
    const auto fold = divided.find(name);
    if (fold != divided.end()) item.divisors = fold->second.factors;
    LayerPlan* layer = nullptr;
    if (linear != linear_of.end()) {
      item.linear = linear->second;
      layer = &plan.layers[item.linear->layer];
      if (!model::IsFloat(tensor.type)) {
        return absl::InvalidArgumentError(absl::StrFormat(
            "tensor '%s' is %s; the weights to quantize must be F32, F16 or "
            "BF16",
            name, std::string(model::Name(tensor.type))));
      }
    }
    if (layer != nullptr && model::IsInt8(layer->scheme.scheme)) {
      item.type = DataType::kI8;
      item.parts = Int8Parts(*item.linear, *layer);
    } else if (model::IsFloat(tensor.type)) {
      const Scheme scheme =
          layer != nullptr ? layer->scheme.scheme : float_scheme;
      DataType wanted =
          tensor.type == DataType::kF32 ? TypeOf(scheme) : tensor.type;
      if (fold != divided.end() && fold->second.of_norm) {
        wanted = DataType::kF32;
      }
      ASSIGN_OR_RETURN(
          item.type, ChooseType(item, checkpoint, wanted, pool, plan.warnings));
      if (layer != nullptr) layer->scheme.scheme = SchemeOf(item.type);
    }
    if (item.parts.empty()) {
      item.parts.push_back({name, item.type, tensor.shape});
    }
    stored.push_back(std::move(item));
  }
  return stored;
}

std::vector<std::byte> EncodeFloat(absl::Span<const float> values,
                                   DataType type, kernels::ThreadPool* pool) {
  constexpr size_t kTaskFloats = size_t{1} << 16;
  const size_t size = model::SizeOf(type);
  std::vector<std::byte> bytes(values.size() * size);
  const size_t tasks = (values.size() + kTaskFloats - 1) / kTaskFloats;
  const auto encode = [&](size_t task) {
    const size_t begin = task * kTaskFloats;
    EncodeFloats(values.subspan(begin, kTaskFloats), type,
                 bytes.data() + begin * size);
  };
  if (pool != nullptr) {
    pool->ParallelFor(tasks, encode);
  } else {
    for (size_t task = 0; task < tasks; ++task) encode(task);
  }
  return bytes;
}

absl::StatusOr<std::vector<float>> ReadFloat(const TensorView& tensor,
                                             std::string_view name) {
  absl::StatusOr<std::vector<float>> values = model::ToFloat(tensor);
  if (values.ok()) return values;
  return absl::Status(
      values.status().code(),
      StrCat("tensor '", name, "': ", std::string(values.status().message())));
}

}  // namespace octet::quantization
