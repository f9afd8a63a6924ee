#include "server/bundle/compressed_tensors.h"

#include <set>
#include <utility>
#include <variant>

#include "kernels/status_macros.h"
#include "server/bundle/compressed_tensors_import.h"
#include "server/bundle/json.h"
#include "server/model/str_cat.h"

namespace octet::bundle {
namespace {

using model::Scheme;
using nlohmann::ordered_json;

constexpr std::string_view kWeight = ".weight";

ordered_json Int8(bool symmetric, const char* strategy, bool dynamic) {
  return {{"num_bits", 8},
          {"type", "int"},
          {"symmetric", symmetric},
          {"strategy", strategy},
          {"dynamic", dynamic}};
}

ordered_json QuantizationConfig(Scheme scheme,
                                std::vector<std::string> ignore) {
  // w8a8_static is affine: its zero point is stored as P.input_zero_point.
  ordered_json activations = scheme == Scheme::kW8A8Static
                                 ? Int8(false, "tensor", false)
                                 : Int8(true, "token", true);
  ordered_json group = {{"targets", {"Linear"}},
                        {"weights", Int8(true, "channel", false)},
                        {"input_activations", std::move(activations)}};
  return {{"quant_method", "compressed-tensors"},
          {"format", "int-quantized"},
          {"quantization_status", "compressed"},
          {"config_groups", {{"group_0", std::move(group)}}},
          {"ignore", std::move(ignore)}};
}

std::set<Scheme> Int8Schemes(const model::Plan& plan) {
  std::set<Scheme> schemes;
  for (const auto& [layer, linear] : plan) {
    if (model::IsInt8(linear.scheme)) schemes.insert(linear.scheme);
  }
  return schemes;
}

std::string WhyNot(const model::Plan& plan, const std::set<Scheme>& schemes) {
  if (schemes.empty()) return "no layer is INT8";
  for (const auto& [layer, linear] : plan) {
    if (!model::IsInt8(linear.scheme)) continue;
    if (linear.smoothed || linear.hadamard_block != 0) {
      return model::StrCat("layer '", layer,
                           "' transforms its input, which the format can not "
                           "say of one layer");
    }
    if (linear.group_size != 0) {
      return model::StrCat("layer '", layer,
                           "' has a scale per group of weights, which engines "
                           "do not take with INT8 activations");
    }
  }
  if (schemes.contains(Scheme::kLlmInt8)) {
    return "llm_int8 keeps outlier columns in FP16, which the format can not "
           "say";
  }
  if (schemes.size() > 1) {
    return "the plan mixes INT8 schemes, which engines read from one "
           "config_groups entry";
  }
  return "";
}

}  // namespace

absl::StatusOr<CompressedTensorsConfig> DescribeAsCompressedTensors(
    std::string_view config_json, const std::vector<std::string>& linears,
    const model::Plan& plan) {
  ASSIGN_OR_RETURN(ordered_json config,
                   ParseJson<ordered_json>("config.json", config_json));
  if (!config.is_object()) {
    return absl::InvalidArgumentError("config.json: must be an object");
  }
  if (IsQuantizedConfig(config_json)) {
    return absl::InvalidArgumentError(
        "config.json: quantization_config: the checkpoint is quantized "
        "already");
  }
  const std::set<Scheme> schemes = Int8Schemes(plan);
  CompressedTensorsConfig result{std::string(config_json),
                                 WhyNot(plan, schemes)};
  if (!result.why_not.empty()) return result;
  std::vector<std::string> ignore;
  for (const std::string& linear : linears) {
    const auto it = plan.find(linear);
    if (it == plan.end() || !model::IsInt8(it->second.scheme)) {
      ignore.push_back(linear);
    }
  }
  // What others compute in. Left to themselves they take the type of the first
  // tensor, and with F16 in all of the model there are other codes.
  config.erase("dtype");
  config["torch_dtype"] = "float32";
  config["quantization_config"] =
      QuantizationConfig(*schemes.begin(), std::move(ignore));
  result.config_json = model::StrCat(JsonText(config, 2), "\n");
  return result;
}

std::vector<std::string> CheckpointLinears(const model::Graph& graph,
                                           const model::TensorSource& tensors) {
  std::set<std::string> tables;
  for (const model::Operator& op : graph.operators) {
    if (const auto* embedding = std::get_if<model::Embedding>(&op)) {
      tables.insert({embedding->token_table, embedding->position_table,
                     embedding->type_table});
    }
  }
  std::vector<std::string> linears;
  for (const std::string& name : tensors.Names()) {
    if (!name.ends_with(kWeight) || tables.contains(name)) continue;
    const absl::StatusOr<model::TensorView> tensor = tensors.Find(name);
    if (tensor.ok() && tensor->shape.size() == 2) {
      linears.push_back(name.substr(0, name.size() - kWeight.size()));
    }
  }
  return linears;
}

}  // namespace octet::bundle
