#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/model/importer.h"
#include "tests/server/model/tiny_bert.h"

namespace octet::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string MessageOf(const absl::StatusOr<Graph>& graph) {
  return std::string(graph.status().message());
}

TEST(ImportBert, LinearsComeInExecutionOrderWithTheirShapes) {
  const auto graph = Import(TinyBertConfig(), TinyBertTensors());
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->family, "bert");
  EXPECT_EQ(graph->input, InputKind::kTokens);
  EXPECT_EQ(graph->vocabulary, 20);
  EXPECT_EQ(graph->max_positions, 12);
  std::vector<std::string> layers;
  for (const Linear* linear : graph->Linears()) layers.push_back(linear->layer);
  layers.resize(6);
  EXPECT_THAT(layers, ElementsAre("encoder.layer.0.attention.self.query",
                                  "encoder.layer.0.attention.self.key",
                                  "encoder.layer.0.attention.self.value",
                                  "encoder.layer.0.attention.output.dense",
                                  "encoder.layer.0.intermediate.dense",
                                  "encoder.layer.0.output.dense"));
  EXPECT_EQ(graph->Linears().size(), 12);
  const Linear& up = *graph->Linears()[4];
  EXPECT_EQ(up.in_features, 8);
  EXPECT_EQ(up.out_features, 16);
  EXPECT_EQ(up.activation, kernels::Activation::kGelu);
  EXPECT_TRUE(up.has_bias);
  EXPECT_FALSE(up.residual.has_value());
}

TEST(ImportBert, BothOutputLinearsAddTheirLayersInput) {
  const auto graph = Import(TinyBertConfig(), TinyBertTensors());
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto linears = graph->Linears();
  EXPECT_EQ(linears[3]->residual, linears[0]->input);
  EXPECT_EQ(linears[5]->residual, linears[4]->input);
}

TEST(ImportBert, WithoutModulesTheOutputIsTheHiddenState) {
  const auto graph = Import(TinyBertConfig(), TinyBertTensors());
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->output, graph->hidden);
}

TEST(ImportBert, ModulesAddPoolingAndNormalization) {
  const auto graph =
      Import(WithSentencePooling(TinyBertConfig()), TinyBertTensors());
  ASSERT_TRUE(graph.ok()) << graph.status();
  const size_t count = graph->operators.size();
  const auto* pooling = std::get_if<Pooling>(&graph->operators[count - 2]);
  ASSERT_NE(pooling, nullptr);
  EXPECT_EQ(pooling->mode, PoolingMode::kMean);
  EXPECT_EQ(pooling->input, graph->hidden);
  const auto* normalize = std::get_if<Normalize>(&graph->operators[count - 1]);
  ASSERT_NE(normalize, nullptr);
  EXPECT_EQ(normalize->output, graph->output);
}

TEST(ImportBert, NamesMayHaveACommonPrefix) {
  const auto graph = Import(TinyBertConfig(), TinyBertTensors("bert."));
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->Linears()[0]->layer,
            "bert.encoder.layer.0.attention.self.query");
}

TEST(ImportBert, LayerNormsMayBeNamedGammaAndBeta) {
  MemoryTensors tensors = TinyBertTensors();
  tensors.Rename("embeddings.LayerNorm.weight", "embeddings.LayerNorm.gamma");
  tensors.Rename("embeddings.LayerNorm.bias", "embeddings.LayerNorm.beta");
  EXPECT_TRUE(Import(TinyBertConfig(), tensors).ok());
}

TEST(ImportBert, AnInt8WeightNeedsItsScales) {
  MemoryTensors tensors = TinyBertTensors();
  const std::string weight = "encoder.layer.1.output.dense.weight";
  tensors.Set(weight, DataType::kI8, {8, 16}, std::vector<int8_t>(128));
  EXPECT_THAT(MessageOf(Import(TinyBertConfig(), tensors)),
              HasSubstr("'encoder.layer.1.output.dense.weight_scale' is "
                        "missing; the config says [8, 1]"));
  tensors.SetFloat(weight + "_scale", {8}, std::vector<float>(8, 1.0F));
  EXPECT_THAT(MessageOf(Import(TinyBertConfig(), tensors)),
              HasSubstr("has shape [8]; the config says [8, 1]"));
  tensors.SetFloat(weight + "_scale", {8, 1}, std::vector<float>(8, 1.0F));
  EXPECT_TRUE(Import(TinyBertConfig(), tensors).ok());
}

TEST(ImportBert, ATensorOfTheWrongShapeIsNamedWithBothShapes) {
  MemoryTensors tensors = TinyBertTensors();
  tensors.SetRandom("encoder.layer.0.output.dense.weight", {8, 15});
  const auto graph = Import(TinyBertConfig(), tensors);
  EXPECT_EQ(graph.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(MessageOf(graph),
              HasSubstr("tensor 'encoder.layer.0.output.dense.weight' has "
                        "shape [8, 15]; the config says [8, 16]"));
}

TEST(ImportBert, EveryTensorIsNeededExceptBiases) {
  const MemoryTensors whole = TinyBertTensors();
  for (const std::string& name : whole.Names()) {
    MemoryTensors tensors = TinyBertTensors();
    tensors.Remove(name);
    const auto graph = Import(TinyBertConfig(), tensors);
    const bool linear_bias =
        name.ends_with(".bias") && !name.ends_with("LayerNorm.bias");
    EXPECT_EQ(graph.ok(), linear_bias) << name;
    EXPECT_THAT(MessageOf(graph), HasSubstr(linear_bias ? "" : name));
  }
}

TEST(ImportBert, ATensorOfTheWrongTypeIsNamed) {
  MemoryTensors tensors = TinyBertTensors();
  tensors.Set("embeddings.LayerNorm.weight", DataType::kI32, {8},
              std::vector<int32_t>(8));
  EXPECT_THAT(MessageOf(Import(TinyBertConfig(), tensors)),
              HasSubstr("tensor 'embeddings.LayerNorm.weight' has type I32; it "
                        "must be F32, F16 or BF16"));
}

struct Hostile {
  const char* name;
  const char* pattern;
  const char* replacement;
  const char* message;
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
};

class HostileBertConfig : public testing::TestWithParam<Hostile> {};

TEST_P(HostileBertConfig, IsRefusedByFieldName) {
  const Hostile& param = GetParam();
  const auto graph = Import(
      TinyBertConfigWith(param.pattern, param.replacement), TinyBertTensors());
  EXPECT_EQ(graph.status().code(), param.code) << graph.status();
  EXPECT_THAT(MessageOf(graph), HasSubstr(param.message));
}

INSTANTIATE_TEST_SUITE_P(
    Configs, HostileBertConfig,
    testing::Values(
        Hostile{"Negative", "\"hidden_size\": 8", "\"hidden_size\": -8",
                "'hidden_size' is -8; it must be an integer from 1"},
        Hostile{"Zero", "\"hidden_size\": 8", "\"hidden_size\": 0",
                "'hidden_size' is 0"},
        Hostile{"Huge", "\"hidden_size\": 8",
                "\"hidden_size\": 18446744073709551615", "'hidden_size' is 18"},
        Hostile{"Text", "\"hidden_size\": 8", "\"hidden_size\": \"8\"",
                "'hidden_size' is \"8\""},
        Hostile{"Fraction", "\"hidden_size\": 8", "\"hidden_size\": 8.5",
                "'hidden_size' is 8.5"},
        Hostile{"Null", "\"hidden_size\": 8", "\"hidden_size\": null",
                "'hidden_size' is null"},
        Hostile{"Array", "\"vocab_size\": 20", "\"vocab_size\": [20]",
                "'vocab_size' is an array"},
        Hostile{"Missing", "\"vocab_size\": 20", "\"vocab\": 20",
                "'vocab_size' is missing"},
        Hostile{"ManyLayers", "\"num_hidden_layers\": 2",
                "\"num_hidden_layers\": 4000000000", "'num_hidden_layers' is"},
        Hostile{"MoreLayersThanTensors", "\"num_hidden_layers\": 2",
                "\"num_hidden_layers\": 3", "'encoder.layer.2."},
        Hostile{"HeadsDoNotDivide", "\"num_attention_heads\": 2",
                "\"num_attention_heads\": 3",
                "it must divide 'hidden_size', which is 8"},
        Hostile{"VocabularyTooLarge", "\"vocab_size\": 20",
                "\"vocab_size\": 30000",
                "shape [20, 8]; the config says [30000, 8]"},
        Hostile{"Epsilon", "1e-12", "-1.0", "'layer_norm_eps' is -1.0"},
        Hostile{"EpsilonInfinite", "1e-12", "1e999", "not valid JSON"},
        Hostile{"EpsilonTooLarge", "1e-12", "1e99", "'layer_norm_eps'"},
        Hostile{"Activation", "\"gelu\"", "\"mish\"", "'hidden_act' is 'mish'"},
        Hostile{"ActivationType", "\"gelu\"", "7", "'hidden_act' is 7"},
        Hostile{"Positions", "\"absolute\"", "\"relative_key\"",
                "'position_embedding_type' is 'relative_key'",
                absl::StatusCode::kUnimplemented},
        Hostile{"Decoder", "\"type_vocab_size\": 2",
                "\"type_vocab_size\": 2, \"is_decoder\": true",
                "'is_decoder' is true", absl::StatusCode::kUnimplemented},
        Hostile{"Family", "\"bert\"", "\"gpt2\"", "'gpt2'",
                absl::StatusCode::kUnimplemented},
        Hostile{"FamilyType", "\"bert\"", "3", "'model_type' is 3"},
        Hostile{"Truncated", "\"absolute\"}", "", "not valid JSON"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(ImportBert, HostileFilesAreErrorsAndNothingThrows) {
  for (const std::string& text :
       {std::string(), std::string("[]"), std::string("null"),
        std::string("\xff\xfe"), std::string(100000, '['),
        std::string("{\"model_type\": \"bert\"}")}) {
    const auto graph = Import({{"config.json", text}}, TinyBertTensors());
    EXPECT_EQ(graph.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(MessageOf(graph), HasSubstr("config.json"));
  }
}

struct HostileModules {
  const char* name;
  const char* modules;
  const char* pooling;  // nullptr: as it is
  const char* message;
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
};

constexpr char kPoolingModule[] =
    R"([{"type": "x.Pooling", "path": "1_Pooling"}])";

class HostileModulesFile : public testing::TestWithParam<HostileModules> {};

TEST_P(HostileModulesFile, IsRefusedByFileAndField) {
  ConfigFiles files = WithSentencePooling(TinyBertConfig());
  files["modules.json"] = GetParam().modules;
  if (GetParam().pooling != nullptr) {
    files["1_Pooling/config.json"] = GetParam().pooling;
  }
  const auto graph = Import(files, TinyBertTensors());
  EXPECT_EQ(graph.status().code(), GetParam().code) << graph.status();
  EXPECT_THAT(MessageOf(graph), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Modules, HostileModulesFile,
    testing::Values(
        HostileModules{"NotJson", "[", nullptr, "modules.json: not valid JSON"},
        HostileModules{"NoArray", "{}", nullptr, "modules.json: must be an"},
        HostileModules{"NoObject", "[1]", nullptr, "module 0 is not an object"},
        HostileModules{"NoType", "[{}]", nullptr,
                       "modules.json[0]: 'type' is missing"},
        HostileModules{"Unknown", R"([{"type": "a.Dense"}])", nullptr,
                       "'a.Dense'", absl::StatusCode::kUnimplemented},
        HostileModules{"NoFile", R"([{"type": "Pooling", "path": "../x"}])",
                       nullptr, "no file '../x/config.json'"},
        HostileModules{"NoMode", kPoolingModule, "{}", "are all false"},
        HostileModules{"BadFlag", kPoolingModule,
                       R"({"pooling_mode_cls_token": 1})",
                       "'pooling_mode_cls_token' is 1"},
        HostileModules{"TwoModes", kPoolingModule,
                       R"({"pooling_mode_cls_token": true,
                           "pooling_mode_mean_tokens": true})",
                       "are both true", absl::StatusCode::kUnimplemented},
        HostileModules{"OtherMode", kPoolingModule,
                       R"({"pooling_mode_lasttoken": true})",
                       "'pooling_mode_lasttoken' is true",
                       absl::StatusCode::kUnimplemented},
        HostileModules{"Width", kPoolingModule,
                       R"({"word_embedding_dimension": 9,
                           "pooling_mode_mean_tokens": true})",
                       "'word_embedding_dimension' is 9"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(ImportBert, PoolingModesByName) {
  for (const auto& [field, mode] :
       std::vector<std::pair<std::string, PoolingMode>>{
           {"pooling_mode_cls_token", PoolingMode::kCls},
           {"pooling_mode_mean_tokens", PoolingMode::kMean},
           {"pooling_mode_max_tokens", PoolingMode::kMax}}) {
    ConfigFiles files = TinyBertConfig();
    files["modules.json"] = kPoolingModule;
    files["1_Pooling/config.json"] = "{\"" + field + "\": true}";
    const auto graph = Import(files, TinyBertTensors());
    ASSERT_TRUE(graph.ok()) << graph.status();
    EXPECT_EQ(std::get<Pooling>(graph->operators.back()).mode, mode);
  }
}

}  // namespace
}  // namespace octet::model
