#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/model/importer.h"
#include "tests/server/model/memory_tensors.h"

namespace octet::model {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(ImportLinearSet, EveryMatrixCalledWeightIsALinear) {
  MemoryTensors tensors;
  tensors.SetRandom("b.weight", {2, 3});
  tensors.SetRandom("a.proj.weight", {5, 4});
  tensors.SetRandom("a.proj.bias", {5});
  tensors.SetRandom("norm.weight", {4});
  tensors.SetRandom("table", {4, 4});
  tensors.Set("index.weight", DataType::kI64, {1, 2}, std::vector<int64_t>(2));
  tensors.Set("q.weight", DataType::kI8, {2, 2}, std::vector<int8_t>(4));
  tensors.SetFloat("q.weight_scale", {2, 1}, {1.0F, 1.0F});
  // No config.json at all.
  const auto graph = Import({}, tensors);
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->family, "linear_set");
  EXPECT_EQ(graph->input, InputKind::kNone);
  std::vector<std::string> layers;
  for (const Linear* linear : graph->Linears()) layers.push_back(linear->layer);
  EXPECT_THAT(layers, ElementsAre("a.proj", "b", "q"));
  EXPECT_TRUE(graph->Linears()[0]->has_bias);
  EXPECT_EQ(graph->Linears()[0]->in_features, 4);
  EXPECT_FALSE(graph->output.has_value());
}

TEST(ImportLinearSet, IsAlsoAModelType) {
  MemoryTensors tensors;
  tensors.SetRandom("b.weight", {2, 3});
  EXPECT_TRUE(
      Import({{"config.json", R"({"model_type": "linear_set"})"}}, tensors)
          .ok());
}

TEST(ImportLinearSet, NothingToServeIsAnError) {
  MemoryTensors tensors;
  tensors.SetRandom("norm.weight", {4});
  const auto graph = Import({}, tensors);
  EXPECT_EQ(graph.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(graph.status().message()), HasSubstr("no linear"));
}

TEST(ImportLinearSet, DoublesAreRefusedNotPassedOver) {
  MemoryTensors tensors;
  tensors.Set("a.weight", DataType::kF64, {1, 1}, std::vector<double>(1));
  EXPECT_THAT(std::string(Import({}, tensors).status().message()),
              HasSubstr("tensor 'a.weight' has type F64"));
}

}  // namespace
}  // namespace octet::model
