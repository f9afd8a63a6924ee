#include "server/bundle/compressed_tensors_import.h"

#include "nlohmann/json.hpp"
#include "server/bundle/bundle.h"
#include "server/bundle/compressed_tensors.h"
#include "server/bundle/shard_writer.h"
#include "server/model/layer_tensors.h"
#include "tests/server/bundle/support.h"
#include "tests/server/model/memory_tensors.h"

namespace octet::bundle {
namespace {

using absl::StatusCode;
using model::DataType;
using model::MemoryTensors;
using model::Scheme;
using nlohmann::json;
using testing::ElementsAre;

json DynamicConfig() {
  return json::parse(R"({
      "model_type": "mlp", "layers": ["fc"], "hidden_act": "relu",
      "quantization_config": {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "kv_cache_scheme": null,
        "config_groups": {"group_0": {
          "targets": ["Linear"],
          "weights": {"num_bits": 8, "type": "int", "symmetric": true,
                      "strategy": "channel", "dynamic": false,
                      "observer": "minmax"},
          "input_activations": {"num_bits": 8, "type": "int",
                                "symmetric": true, "strategy": "token",
                                "dynamic": true},
          "output_activations": null}},
        "ignore": ["lm_head"]}})");
}

json StaticConfig() {
  json config = DynamicConfig();
  config["quantization_config"]["config_groups"]["group_0"]
        ["input_activations"] = {{"num_bits", 8},
                                 {"type", "int"},
                                 {"symmetric", true},
                                 {"strategy", "tensor"},
                                 {"dynamic", false}};
  return config;
}

// "fc" [2, 3] with scales in BF16, as tools write them.
MemoryTensors Tensors() {
  MemoryTensors tensors;
  tensors.Set<int8_t>("fc.weight", DataType::kI8, {2, 3},
                      {1, 2, 3, -127, 5, 127});
  tensors.Set<uint16_t>("fc.weight_scale", DataType::kBF16, {2, 1},
                        {0x3f80, 0x4000});  // 1, 2
  tensors.SetFloat("fc.bias", {2}, {10, 20});
  return tensors;
}

absl::StatusOr<QuantizedCheckpoint> Import(const json& config,
                                           const MemoryTensors& tensors) {
  return ImportCompressedTensors(config.dump(),
                                 std::make_unique<MemoryTensors>(tensors));
}

TEST(ImportCompressedTensors, TakesDynamicChannelsAsTheyAre) {
  const auto imported = Import(DynamicConfig(), Tensors());
  ASSERT_THAT(imported, IsOk());
  EXPECT_EQ(imported->plan, (model::Plan{{"fc", {Scheme::kW8A8Dynamic}}}));
  const std::array<int64_t, 2> shape = {2, 1};
  const auto scales =
      model::FindScales(*imported->tensors, "fc.weight_scale", shape);
  ASSERT_THAT(scales, IsOk());
  EXPECT_THAT(*scales, ElementsAre(1.0F, 2.0F));
  EXPECT_THAT(imported->tensors->Names(),
              ElementsAre("fc.bias", "fc.weight", "fc.weight_scale"));
}

TEST(ImportCompressedTensors, AWeightScaleOfTheTensorIsEveryRows) {
  json config = DynamicConfig();
  config["quantization_config"]["config_groups"]["group_0"]["weights"]
        ["strategy"] = "tensor";
  MemoryTensors tensors = Tensors();
  tensors.SetFloat("fc.weight_scale", {1}, {0.5F});
  const auto imported = Import(config, tensors);
  ASSERT_THAT(imported, IsOk());
  const std::array<int64_t, 2> shape = {2, 1};
  EXPECT_THAT(*model::FindScales(*imported->tensors, "fc.weight_scale", shape),
              ElementsAre(0.5F, 0.5F));
}

TEST(ImportCompressedTensors, AStaticInputWithoutZeroPointIsSymmetric) {
  MemoryTensors tensors = Tensors();
  tensors.SetFloat("fc.input_scale", {}, {0.25F});
  const auto imported = Import(StaticConfig(), tensors);
  ASSERT_THAT(imported, IsOk());
  EXPECT_EQ(imported->plan.at("fc").scheme, Scheme::kW8A8Static);
  const std::array<int64_t, 1> shape = {1};
  EXPECT_THAT(
      *model::FindElements<int8_t>(*imported->tensors, "fc.input_zero_point",
                                   DataType::kI8, shape),
      ElementsAre(0));
  EXPECT_THAT(*model::FindScales(*imported->tensors, "fc.input_scale", shape),
              ElementsAre(0.25F));
}

TEST(ImportCompressedTensors, SaysWhatItDoesNotSupport) {
  const auto with = [](const char* pointer, const json& value) {
    json config = DynamicConfig();
    config[json::json_pointer(pointer)] = value;
    return Import(config, Tensors());
  };
  const std::string root = "/quantization_config";
  const std::string group = root + "/config_groups/group_0";
  const struct {
    std::string pointer;
    json value;
    const char* message;
  } cases[] = {
      {root + "/quant_method", "gptq", "quant_method: is"},
      {root + "/format", "pack-quantized", "format: is"},
      {root + "/quantization_status", "frozen", "quantization_status"},
      {root + "/kv_cache_scheme", json::object({{"num_bits", 8}}), "kv_cache"},
      {root + "/transform_config", json::object({{"a", 1}}), "transform"},
      {root + "/config_groups", json::object(), "config_groups"},
      {group + "/weights/num_bits", 4, "group_0.weights.num_bits: is '4'"},
      {group + "/weights/type", "float", "weights.type"},
      {group + "/weights/symmetric", false, "weights.symmetric"},
      {group + "/weights/strategy", "block", "weights.strategy"},
      {group + "/weights/actorder", "group", "weights.actorder"},
      {group + "/input_activations", nullptr, "weights alone"},
      {group + "/input_activations/num_bits", 4, "input_activations.num_bits"},
      {group + "/input_activations/symmetric", false, "symmetric"},
      {group + "/input_activations/dynamic", "local", "dynamic"},
      {group + "/output_activations", json::object({{"num_bits", 8}}),
       "output_activations"},
  };
  for (const auto& [pointer, value, message] : cases) {
    EXPECT_THAT(with(pointer.c_str(), value),
                Fails(StatusCode::kUnimplemented, message))
        << pointer;
  }
}

TEST(ImportCompressedTensors, SaysWhichTensorIsWrong) {
  MemoryTensors asymmetric = Tensors();
  asymmetric.Set<int8_t>("fc.weight_zero_point", DataType::kI8, {2, 1}, {0, 3});
  EXPECT_THAT(Import(DynamicConfig(), asymmetric),
              Fails(StatusCode::kUnimplemented, "'fc.weight_zero_point'"));
  MemoryTensors ordered = Tensors();
  ordered.Set<int32_t>("fc.weight_g_idx", DataType::kI32, {3}, {0, 0, 0});
  EXPECT_THAT(Import(DynamicConfig(), ordered),
              Fails(StatusCode::kUnimplemented, "'fc.weight_g_idx'"));
  MemoryTensors bare = Tensors();
  bare.Remove("fc.weight_scale");
  EXPECT_THAT(Import(DynamicConfig(), bare),
              Fails(StatusCode::kInvalidArgument, "'fc.weight_scale'"));
  EXPECT_THAT(Import(StaticConfig(), Tensors()),
              Fails(StatusCode::kInvalidArgument, "'fc.input_scale'"));
  EXPECT_THAT(Import(DynamicConfig(), MemoryTensors()),
              Fails(StatusCode::kInvalidArgument, "no I8 tensor"));
}

TEST(ImportCompressedTensors, SeveralGroupsAreToldApartByName) {
  json config = DynamicConfig();
  json& groups = config["quantization_config"]["config_groups"];
  groups["group_1"] =
      StaticConfig()["quantization_config"]["config_groups"]["group_0"];
  groups["group_1"]["targets"] = {"fc"};
  MemoryTensors tensors = Tensors();
  tensors.SetFloat("fc.input_scale", {1}, {0.25F});
  const auto imported = Import(config, tensors);
  ASSERT_THAT(imported, IsOk());
  EXPECT_EQ(imported->plan.at("fc").scheme, Scheme::kW8A8Static);
  groups["group_0"]["targets"] = {"re:.*"};
  groups["group_1"]["targets"] = {"re:.*fc"};
  EXPECT_THAT(Import(config, tensors),
              Fails(StatusCode::kUnimplemented, "'fc'"));
}

TEST(OpenCheckpoint, ServesACheckpointThatCameQuantized) {
  const TempDir directory;
  WriteFile(directory / "config.json", DynamicConfig().dump());
  const MemoryTensors tensors = Tensors();
  std::vector<TensorInfo> infos;
  for (const std::string& name : tensors.Names()) {
    const auto tensor = tensors.Find(name);
    infos.push_back({name, tensor->type, tensor->shape});
  }
  auto writer =
      ShardWriter::Create(directory.path(), infos, {}, kDefaultShardBytes);
  ASSERT_THAT(writer, IsOk());
  for (const TensorInfo& info : infos) {
    ASSERT_THAT((*writer)->Append(info.name, tensors.Find(info.name)->bytes),
                IsOk());
  }
  ASSERT_THAT((*writer)->Finish(), IsOk());
  const auto files = OpenCheckpoint(directory.path());
  ASSERT_THAT(files, IsOk());
  const auto model = LoadFloatModel(*files);
  ASSERT_THAT(model, IsOk());
  const auto layer = (*model)->FindLinear("fc");
  ASSERT_THAT(layer, IsOk());
  const std::vector<float> x = {1.0F, 0.0F, 0.0F};  // codes 127, 0, 0
  std::vector<float> y(2);
  ASSERT_THAT((*layer)->Run({x.data(), 1, 3}, {y.data(), 1, 2}, {}), IsOk());
  EXPECT_FLOAT_EQ(y[0], 1.0F * 1.0F * 1 + 10);
  EXPECT_FLOAT_EQ(y[1], 2.0F * 1.0F * -127 + 20);
}

}  // namespace
}  // namespace octet::bundle
