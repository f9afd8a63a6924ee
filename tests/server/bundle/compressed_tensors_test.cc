#include "server/bundle/compressed_tensors.h"

#include "nlohmann/json.hpp"
#include "server/bundle/compressed_tensors_import.h"
#include "server/bundle/safetensors.h"
#include "tests/server/bundle/support.h"

namespace octet::bundle {
namespace {

using absl::StatusCode;
using model::Scheme;
using nlohmann::json;
using testing::ElementsAre;

constexpr char kConfig[] = R"({"model_type":"bert","hidden_size":4})";
const std::vector<std::string> kLinears = {"a", "b", "pooler.dense"};

json QuantizationConfig(const model::Plan& plan) {
  const auto config = DescribeAsCompressedTensors(kConfig, kLinears, plan);
  EXPECT_THAT(config, IsOk());
  EXPECT_EQ(config->why_not, "");
  return json::parse(config->config_json)["quantization_config"];
}

TEST(CompressedTensors, SaysDynamicPerToken) {
  const json config = QuantizationConfig(
      {{"a", {Scheme::kW8A8Dynamic}}, {"b", {Scheme::kBf16}}});
  EXPECT_EQ(config, json::parse(R"({
      "quant_method": "compressed-tensors",
      "format": "int-quantized",
      "quantization_status": "compressed",
      "config_groups": {"group_0": {
        "targets": ["Linear"],
        "weights": {"num_bits": 8, "type": "int", "symmetric": true,
                    "strategy": "channel", "dynamic": false},
        "input_activations": {"num_bits": 8, "type": "int", "symmetric": true,
                              "strategy": "token", "dynamic": true}}},
      "ignore": ["b", "pooler.dense"]})"));
}

TEST(CompressedTensors, SaysStaticAsAnAffineTensor) {
  const json config = QuantizationConfig({{"a", {Scheme::kW8A8Static}}});
  EXPECT_EQ(config["config_groups"]["group_0"]["input_activations"],
            json::parse(R"({"num_bits": 8, "type": "int", "symmetric": false,
                            "strategy": "tensor", "dynamic": false})"));
}

TEST(CompressedTensors, KeepsTheRestOfTheConfigInItsOrder) {
  const auto config = DescribeAsCompressedTensors(
      kConfig, kLinears, {{"a", {Scheme::kW8A8Dynamic}}});
  ASSERT_THAT(config, IsOk());
  const auto text = nlohmann::ordered_json::parse(config->config_json);
  std::vector<std::string> keys;
  for (const auto& [key, value] : text.items()) keys.push_back(key);
  EXPECT_THAT(keys, ElementsAre("model_type", "hidden_size", "torch_dtype",
                                "quantization_config"));
}

TEST(CompressedTensors, SaysThatTheRestIsComputedInFp32) {
  for (const char* was :
       {"{}", R"({"dtype":"float16"})", R"({"torch_dtype":"bfloat16"})"}) {
    const auto config = DescribeAsCompressedTensors(
        was, kLinears, {{"a", {Scheme::kW8A8Dynamic}}});
    ASSERT_THAT(config, IsOk());
    const json text = json::parse(config->config_json);
    EXPECT_EQ(text["torch_dtype"], "float32") << was;
    EXPECT_FALSE(text.contains("dtype")) << was;
  }
}

TEST(CompressedTensors, SaysWhyNot) {
  const auto mixed = DescribeAsCompressedTensors(
      kConfig, kLinears,
      {{"a", {Scheme::kW8A8Dynamic}}, {"b", {Scheme::kW8A8Static}}});
  ASSERT_THAT(mixed, IsOk());
  EXPECT_THAT(mixed->why_not, testing::HasSubstr("mixes"));
  EXPECT_EQ(mixed->config_json, kConfig);
  const auto outliers = DescribeAsCompressedTensors(
      kConfig, kLinears, {{"a", {Scheme::kLlmInt8, 6.0F}}});
  ASSERT_THAT(outliers, IsOk());
  EXPECT_THAT(outliers->why_not, testing::HasSubstr("llm_int8"));
  model::LinearScheme scheme = {Scheme::kW8A8Dynamic};
  scheme.group_size = 64;
  const auto groups =
      DescribeAsCompressedTensors(kConfig, kLinears, {{"a", scheme}});
  ASSERT_THAT(groups, IsOk());
  EXPECT_THAT(groups->why_not, testing::HasSubstr("group"));
  scheme = {Scheme::kW8A8Dynamic};
  scheme.hadamard_block = 32;
  const auto rotated =
      DescribeAsCompressedTensors(kConfig, kLinears, {{"a", scheme}});
  ASSERT_THAT(rotated, IsOk());
  EXPECT_THAT(rotated->why_not, testing::HasSubstr("transforms"));
}

TEST(CompressedTensors, AFloatPlanHasNoSuchForm) {
  for (const model::Plan& plan :
       {model::Plan(), model::Plan{{"a", {Scheme::kFp16}}}}) {
    const auto config = DescribeAsCompressedTensors(kConfig, kLinears, plan);
    ASSERT_THAT(config, IsOk());
    EXPECT_EQ(config->why_not, "no layer is INT8");
    EXPECT_EQ(config->config_json, kConfig);
  }
}

TEST(CompressedTensors, ANullIsNoQuantization) {
  constexpr char kNull[] = R"({"quantization_config":null})";
  EXPECT_FALSE(IsQuantizedConfig(kNull));
  const auto config = DescribeAsCompressedTensors(
      kNull, kLinears, {{"a", {Scheme::kW8A8Dynamic}}});
  ASSERT_THAT(config, IsOk());
  EXPECT_TRUE(IsQuantizedConfig(config->config_json));
}

TEST(CompressedTensors, RefusesConfigsItCanNotExtend) {
  EXPECT_THAT(DescribeAsCompressedTensors("[]", kLinears, {}),
              Fails(StatusCode::kInvalidArgument, "config.json"));
  EXPECT_THAT(DescribeAsCompressedTensors("{", kLinears, {}),
              Fails(StatusCode::kInvalidArgument, "config.json"));
  EXPECT_THAT(DescribeAsCompressedTensors(R"({"quantization_config":{}})",
                                          kLinears, {}),
              Fails(StatusCode::kInvalidArgument, "quantization_config"));
}

TEST(CompressedTensors, FindsLinearsTheGraphDoesNotRun) {
  const std::string file = SafetensorsFile(
      R"({"words.weight":{"dtype":"I8","shape":[2,1],"data_offsets":[0,2]},)"
      R"("fc.weight":{"dtype":"I8","shape":[2,1],"data_offsets":[2,4]},)"
      R"("fc.bias":{"dtype":"I8","shape":[2],"data_offsets":[4,6]},)"
      R"("norm.weight":{"dtype":"I8","shape":[2],"data_offsets":[6,8]},)"
      R"("pooler.dense.weight":{"dtype":"I8","shape":[1,2],)"
      R"("data_offsets":[8,10]}})",
      "0123456789");
  const auto tensors = Safetensors::Parse(Bytes(file));
  ASSERT_THAT(tensors, IsOk());
  model::Graph graph;
  graph.operators.push_back(model::Embedding{.token_table = "words.weight",
                                             .position_table = "",
                                             .type_table = "",
                                             .output = 0});
  EXPECT_THAT(CheckpointLinears(graph, **tensors),
              ElementsAre("fc", "pooler.dense"));
}

}  // namespace
}  // namespace octet::bundle
