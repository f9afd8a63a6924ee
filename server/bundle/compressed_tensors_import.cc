#include "server/bundle/compressed_tensors_import.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "kernels/status_macros.h"
#include "server/bundle/io.h"
#include "server/bundle/json.h"
#include "server/model/str_cat.h"

namespace octet::bundle {
namespace {

using model::DataType;
using model::Scheme;
using model::StrCat;
using model::TensorView;
using nlohmann::json;

constexpr std::string_view kField = "quantization_config";
constexpr std::string_view kWeight = ".weight";

// A config group: how its layers are quantized, and which they are.
struct Group {
  model::LinearScheme scheme;
  std::set<std::string, std::less<>> targets;
};

absl::Status Unsupported(std::string_view path, const json& value,
                         std::string_view supported) {
  return absl::UnimplementedError(StrCat("config.json: ", kField, path, ": is ",
                                         Quoted(JsonText(value, -1)), "; ",
                                         supported));
}

// A field of an object; null where it is missing or `object` is none.
const json& Get(const json& object, const char* name) {
  static const json null;
  if (!object.is_object()) return null;
  const auto it = object.find(name);
  return it == object.end() ? null : *it;
}

absl::Status CheckIs(const json& object, const std::string& path,
                     const char* name, const json& expected) {
  const json& value = Get(object, name);
  if (value == expected) return absl::OkStatus();
  return Unsupported(StrCat(path, ".", name), value,
                     StrCat("only ", JsonText(expected, -1), " is supported"));
}

absl::Status CheckAbsent(const json& object, const char* name) {
  const json& value = Get(object, name);
  if (value.is_null() || value.empty()) return absl::OkStatus();
  return Unsupported(StrCat(".", name), value, "it must be empty");
}

absl::StatusOr<uint32_t> ParseGroupSize(const json& weights,
                                        const std::string& path) {
  const json& size = Get(weights, "group_size");
  for (const uint32_t known : {32U, 64U, 128U, 256U}) {
    if (size == known) return known;
  }
  return Unsupported(StrCat(path, ".group_size"), size,
                     "groups of 32, 64, 128 and 256 are supported");
}

absl::Status ParseWeights(const json& weights, const std::string& path,
                          model::LinearScheme& scheme) {
  RETURN_IF_ERROR(CheckIs(weights, path, "num_bits", 8));
  RETURN_IF_ERROR(CheckIs(weights, path, "type", "int"));
  RETURN_IF_ERROR(CheckIs(weights, path, "symmetric", true));
  if (Get(weights, "dynamic") == true) {
    return Unsupported(StrCat(path, ".dynamic"), true, "weights are stored");
  }
  const json& order = Get(weights, "actorder");
  if (!order.is_null() && order != false && order != "static" &&
      order != "weight") {
    return Unsupported(StrCat(path, ".actorder"), order,
                       "groups are of neighbouring columns");
  }
  const json& strategy = Get(weights, "strategy");
  if (strategy == "channel" || strategy == "tensor") return absl::OkStatus();
  if (strategy == "group") {
    ASSIGN_OR_RETURN(scheme.group_size, ParseGroupSize(weights, path));
    return absl::OkStatus();
  }
  return Unsupported(StrCat(path, ".strategy"), strategy,
                     "channel, tensor and group are supported");
}

absl::Status ParseActivations(const json& activations, const std::string& path,
                              model::LinearScheme& scheme) {
  if (activations.is_null()) {
    return Unsupported(path, activations,
                       "quantized weights alone are not supported");
  }
  RETURN_IF_ERROR(CheckIs(activations, path, "num_bits", 8));
  RETURN_IF_ERROR(CheckIs(activations, path, "type", "int"));
  const json& strategy = Get(activations, "strategy");
  if (Get(activations, "dynamic") == true) {
    RETURN_IF_ERROR(CheckIs(activations, path, "symmetric", true));
    scheme.scheme = Scheme::kW8A8Dynamic;
    return CheckIs(activations, path, "strategy", "token");
  }
  RETURN_IF_ERROR(CheckIs(activations, path, "dynamic", false));
  scheme.scheme = Scheme::kW8A8Static;
  return strategy.is_null() ? absl::OkStatus()
                            : CheckIs(activations, path, "strategy", "tensor");
}

absl::StatusOr<Group> ParseGroup(const json& object, const std::string& path) {
  Group group;
  RETURN_IF_ERROR(ParseWeights(Get(object, "weights"), StrCat(path, ".weights"),
                               group.scheme));
  RETURN_IF_ERROR(ParseActivations(Get(object, "input_activations"),
                                   StrCat(path, ".input_activations"),
                                   group.scheme));
  RETURN_IF_ERROR(CheckIs(object, path, "output_activations", json()));
  const json& targets = Get(object, "targets");
  if (!targets.is_array()) {
    return Unsupported(StrCat(path, ".targets"), targets,
                       "it must be a list of names");
  }
  for (const json& target : targets) {
    if (target.is_string()) {
      group.targets.insert(target.get_ref<const std::string&>());
    }
  }
  return group;
}

absl::StatusOr<std::vector<Group>> ParseConfig(std::string_view config_json) {
  ASSIGN_OR_RETURN(const json config, ParseJson("config.json", config_json));
  const json& quantization = Get(config, "quantization_config");
  RETURN_IF_ERROR(
      CheckIs(quantization, "", "quant_method", "compressed-tensors"));
  RETURN_IF_ERROR(CheckIs(quantization, "", "format", "int-quantized"));
  RETURN_IF_ERROR(
      CheckIs(quantization, "", "quantization_status", "compressed"));
  RETURN_IF_ERROR(CheckIs(quantization, "", "kv_cache_scheme", json()));
  RETURN_IF_ERROR(CheckAbsent(quantization, "transform_config"));
  RETURN_IF_ERROR(CheckAbsent(quantization, "sparsity_config"));
  const json& entries = Get(quantization, "config_groups");
  if (!entries.is_object() || entries.empty()) {
    return Unsupported(".config_groups", entries, "it must have an entry");
  }
  std::vector<Group> groups;
  for (const auto& [name, entry] : entries.items()) {
    ASSIGN_OR_RETURN(Group group,
                     ParseGroup(entry, StrCat(".config_groups.", name)));
    groups.push_back(std::move(group));
  }
  return groups;
}

absl::StatusOr<const Group*> GroupOf(const std::vector<Group>& groups,
                                     const std::string& layer) {
  if (groups.size() == 1) return &groups.front();
  for (const std::string& target : {layer, std::string("Linear")}) {
    for (const Group& group : groups) {
      if (group.targets.contains(target)) return &group;
    }
  }
  return absl::UnimplementedError(
      StrCat("config.json: ", kField,
             ".config_groups: none of several names "
             "layer ",
             Quoted(layer),
             " or \"Linear\" as a target; patterns "
             "are not read"));
}

// The tensors of a checkpoint, with those of its INT8 layers as ours are.
class ConvertedTensors : public model::TensorSource {
 public:
  explicit ConvertedTensors(std::unique_ptr<model::TensorSource> stored)
      : stored_(std::move(stored)) {}

  const model::TensorSource& stored() const { return *stored_; }

  std::vector<std::string> Names() const override {
    std::set<std::string> names;
    for (std::string& name : stored_->Names()) {
      if (!hidden_.contains(name)) names.insert(std::move(name));
    }
    for (const auto& [name, tensor] : made_) names.insert(name);
    return {names.begin(), names.end()};
  }

  absl::StatusOr<TensorView> Find(std::string_view name) const override {
    const auto made = made_.find(name);
    if (made != made_.end()) return made->second.view;
    if (!hidden_.contains(name)) return stored_->Find(name);
    return absl::NotFoundError(
        StrCat("tensor ", Quoted(name), " does not exist"));
  }

  void Release(absl::Span<const std::byte> bytes) const override {
    stored_->Release(bytes);
  }

  void Hide(const std::string& name) { hidden_.insert(name); }

  template <typename T>
  void Make(const std::string& name, DataType type, std::vector<int64_t> shape,
            const std::vector<T>& values) {
    Made& made = made_[name];
    made.bytes.resize(values.size() * sizeof(T));
    std::memcpy(made.bytes.data(), values.data(), made.bytes.size());
    made.view = {type, std::move(shape), made.bytes};
  }

 private:
  struct Made {
    std::vector<std::byte> bytes;
    TensorView view;
  };

  const std::unique_ptr<model::TensorSource> stored_;
  std::map<std::string, Made, std::less<>> made_;
  std::set<std::string, std::less<>> hidden_;
};

absl::StatusOr<std::vector<float>> FloatsOf(const model::TensorSource& tensors,
                                            const std::string& name) {
  const absl::StatusOr<TensorView> tensor = tensors.Find(name);
  if (!tensor.ok()) {
    return absl::InvalidArgumentError(
        StrCat("tensor ", Quoted(name), " is missing"));
  }
  absl::StatusOr<std::vector<float>> values = model::ToFloat(*tensor);
  if (values.ok()) return values;
  return absl::InvalidArgumentError(StrCat(
      "tensor ", Quoted(name), ": ", std::string(values.status().message())));
}

// One scale for the tensor becomes one for each row.
absl::Status ConvertWeightScale(const std::string& layer,
                                const std::vector<int64_t>& shape,
                                const model::LinearScheme& scheme,
                                ConvertedTensors& tensors) {
  const std::string name = StrCat(layer, ".weight_scale");
  ASSIGN_OR_RETURN(std::vector<float> scales, FloatsOf(tensors.stored(), name));
  const int64_t group = scheme.group_size;
  const int64_t groups = group == 0 ? 1 : (shape[1] + group - 1) / group;
  const auto wanted = static_cast<size_t>(shape[0] * groups);
  if (scales.size() == 1) scales.resize(wanted, scales[0]);
  if (scales.size() != wanted) {
    return absl::InvalidArgumentError(StrCat(
        "tensor ", Quoted(name), " has ", scales.size(), " scales; its weight ",
        model::ShapeString(shape), " needs ", wanted));
  }
  tensors.Make(name, DataType::kF32, {shape[0], groups}, scales);
  return absl::OkStatus();
}

// Zero points of weights may be stored where they are all 0.
absl::Status CheckWeightZeroPoint(const std::string& layer,
                                  ConvertedTensors& tensors) {
  const std::string name = StrCat(layer, ".weight_zero_point");
  const absl::StatusOr<TensorView> tensor = tensors.stored().Find(name);
  if (!tensor.ok()) return absl::OkStatus();
  tensors.Hide(name);
  if (std::all_of(tensor->bytes.begin(), tensor->bytes.end(),
                  [](std::byte byte) { return byte == std::byte{0}; })) {
    return absl::OkStatus();
  }
  return absl::UnimplementedError(
      StrCat("tensor ", Quoted(name),
             " is not zero; asymmetric weights are not supported"));
}

absl::Status ConvertInput(const std::string& layer, Scheme scheme,
                          ConvertedTensors& tensors) {
  const std::string scale_name = StrCat(layer, ".input_scale");
  const std::string zero_name = StrCat(layer, ".input_zero_point");
  if (scheme == Scheme::kW8A8Dynamic) {  // what is there means nothing
    tensors.Hide(scale_name);
    tensors.Hide(zero_name);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const std::vector<float> scale,
                   FloatsOf(tensors.stored(), scale_name));
  const absl::StatusOr<TensorView> zero = tensors.stored().Find(zero_name);
  std::vector<int8_t> zero_point = {0};
  if (zero.ok() && zero->type == DataType::kI8 && zero->bytes.size() == 1) {
    std::memcpy(zero_point.data(), zero->bytes.data(), 1);
  } else if (zero.ok()) {
    return absl::InvalidArgumentError(
        StrCat("tensor ", Quoted(zero_name), " must be one I8"));
  }
  if (scale.size() != 1) {
    return absl::InvalidArgumentError(
        StrCat("tensor ", Quoted(scale_name), " must be one number"));
  }
  tensors.Make(scale_name, DataType::kF32, {1}, scale);
  tensors.Make(zero_name, DataType::kI8, {1}, zero_point);
  return absl::OkStatus();
}

}  // namespace

bool IsQuantizedConfig(std::string_view config_json) {
  const absl::StatusOr<json> config = ParseJson("config.json", config_json);
  return config.ok() && !Get(*config, "quantization_config").is_null();
}

absl::StatusOr<QuantizedCheckpoint> ImportCompressedTensors(
    std::string_view config_json,
    std::unique_ptr<model::TensorSource> tensors) {
  ASSIGN_OR_RETURN(const std::vector<Group> groups, ParseConfig(config_json));
  auto converted = std::make_unique<ConvertedTensors>(std::move(tensors));
  QuantizedCheckpoint checkpoint;
  for (const std::string& name : converted->stored().Names()) {
    if (name.ends_with(".weight_g_idx")) {
      return absl::UnimplementedError(
          StrCat("tensor ", Quoted(name),
                 ": activation ordering of groups is not supported"));
    }
    ASSIGN_OR_RETURN(const TensorView tensor, converted->stored().Find(name));
    if (!name.ends_with(kWeight) || tensor.type != DataType::kI8 ||
        tensor.shape.size() != 2) {
      continue;
    }
    const std::string layer = name.substr(0, name.size() - kWeight.size());
    ASSIGN_OR_RETURN(const Group* const group, GroupOf(groups, layer));
    RETURN_IF_ERROR(
        ConvertWeightScale(layer, tensor.shape, group->scheme, *converted));
    RETURN_IF_ERROR(CheckWeightZeroPoint(layer, *converted));
    RETURN_IF_ERROR(ConvertInput(layer, group->scheme.scheme, *converted));
    checkpoint.plan[layer] = group->scheme;
  }
  if (checkpoint.plan.empty()) {
    return absl::InvalidArgumentError(
        StrCat("config.json: ", kField,
               ": there is no I8 tensor 'X.weight' that it could be about"));
  }
  checkpoint.tensors = std::move(converted);
  return checkpoint;
}

}  // namespace octet::bundle
