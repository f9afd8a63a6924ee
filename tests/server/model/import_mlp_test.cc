#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/model/importer.h"
#include "tests/server/model/memory_tensors.h"

namespace octet::model {
namespace {

using testing::HasSubstr;

ConfigFiles Config(const std::string& layers,
                   const std::string& activation = "\"relu\"") {
  return {{"config.json", R"({"model_type": "mlp", "layers": )" + layers +
                              R"(, "hidden_act": )" + activation + "}"}};
}

MemoryTensors Tensors() {
  MemoryTensors tensors;
  tensors.SetRandom("fc1.weight", {4, 3});
  tensors.SetRandom("fc1.bias", {4});
  tensors.SetRandom("fc2.weight", {2, 4});
  return tensors;
}

TEST(ImportMlp, ActivationAfterEachButTheLast) {
  const auto graph = Import(Config(R"(["fc1", "fc2"])"), Tensors());
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->input, InputKind::kFeatures);
  EXPECT_EQ(graph->input_width, 3);
  EXPECT_THAT(graph->widths, testing::ElementsAre(3, 4, 2));
  EXPECT_EQ(graph->output, 2);
  EXPECT_FALSE(graph->hidden.has_value());
  const auto linears = graph->Linears();
  EXPECT_EQ(linears[0]->activation, kernels::Activation::kRelu);
  EXPECT_TRUE(linears[0]->has_bias);
  EXPECT_EQ(linears[1]->activation, kernels::Activation::kNone);
  EXPECT_FALSE(linears[1]->has_bias);
}

struct BadMlp {
  const char* layers;
  const char* activation;
  const char* message;
};

TEST(ImportMlp, BadConfigsAreRefusedByName) {
  for (const BadMlp& bad : std::vector<BadMlp>{
           {"[]", "\"relu\"", "'layers' names no layer"},
           {"\"fc1\"", "\"relu\"", "'layers' is \"fc1\""},
           {R"(["fc1", 2])", "\"relu\"", "'layers' has 2 at index 1"},
           {R"(["fc1", "fc1"])", "\"relu\"", "names 'fc1' twice"},
           {R"(["fc1", "fc3"])", "\"relu\"", "'fc3.weight' is missing"},
           {R"(["fc2", "fc1"])", "\"relu\"",
            "layer 'fc1' takes 3 features; layer 'fc2' before it gives 2"},
           {R"(["fc1"])", "\"sigmoid\"", "'hidden_act' is 'sigmoid'"}}) {
    const auto graph = Import(Config(bad.layers, bad.activation), Tensors());
    EXPECT_EQ(graph.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(graph.status().message()), HasSubstr(bad.message));
  }
}

TEST(ImportMlp, WeightsMustBeMatrices) {
  MemoryTensors tensors = Tensors();
  for (const std::vector<int64_t>& shape :
       std::vector<std::vector<int64_t>>{{12}, {0, 3}, {4, 3, 1}, {}}) {
    tensors.SetRandom("fc1.weight", shape);
    const auto graph = Import(Config(R"(["fc1"])"), tensors);
    EXPECT_THAT(
        std::string(graph.status().message()),
        HasSubstr("tensor 'fc1.weight' has shape " + ShapeString(shape)));
  }
}

TEST(ImportMlp, ABiasMustFitItsWeight) {
  MemoryTensors tensors = Tensors();
  tensors.SetRandom("fc1.bias", {5});
  EXPECT_THAT(
      std::string(Import(Config(R"(["fc1"])"), tensors).status().message()),
      HasSubstr("'fc1.bias' has shape [5]; the config says [4]"));
}

}  // namespace
}  // namespace octet::model
