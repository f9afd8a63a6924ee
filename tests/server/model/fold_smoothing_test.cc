#include "server/model/fold_smoothing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <utility>

#include "server/model/importer.h"
#include "server/model/model.h"
#include "tests/server/model/tiny_bert.h"

namespace octet::model {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Key;
using testing::UnorderedElementsAre;

std::vector<float> Factors(size_t count) {
  std::vector<float> factors(count);
  for (size_t i = 0; i < count; ++i) {
    factors[i] = 0.25F * static_cast<float>(1 + i % 13);
  }
  return factors;
}

// Every linear smoothed.
LayerFactors SmoothAll(const Graph& graph) {
  LayerFactors smoothing;
  for (const Linear* linear : graph.Linears()) {
    smoothing[linear->layer] = Factors(linear->in_features);
  }
  return smoothing;
}

struct FloatModel {
  Graph graph;
  MemoryTensors tensors;

  ModelOutput Run(const TensorSource& source, const ModelInput& input) const {
    const auto model = Model::Create(graph, source, {});
    EXPECT_TRUE(model.ok()) << model.status();
    const auto output = (*model)->Forward(input, {});
    EXPECT_TRUE(output.ok()) << output.status();
    return *output;
  }
};

// Folding changes tensors, and neither what the model says nor, up to
// rounding, what it computes.
void ExpectSameModel(const FloatModel& model, const ModelInput& input,
                     const SmoothingFolds& folds) {
  const auto folded = FoldedTensors::Create(model.tensors, folds);
  ASSERT_TRUE(folded.ok()) << folded.status();
  EXPECT_EQ(folded->Names(), model.tensors.Names());
  const ModelOutput before = model.Run(model.tensors, input);
  const ModelOutput after = model.Run(*folded, input);
  ASSERT_EQ(before.values.size(), after.values.size());
  double largest = 0.0;
  for (const float value : before.values) {
    largest = std::max(largest, std::abs(static_cast<double>(value)));
  }
  for (size_t i = 0; i < before.values.size(); ++i) {
    EXPECT_NEAR(after.values[i], before.values[i], 1e-5 * largest) << i;
  }
  // Half of a fold is another model: the test above could fail.
  const auto half = FoldedTensors::Create(model.tensors, {folds.divided, {}});
  ASSERT_TRUE(half.ok()) << half.status();
  EXPECT_NE(model.Run(*half, input).values, before.values);
}

FloatModel Bert() {
  const MemoryTensors tensors = TinyBertTensors();
  return {*Import(WithSentencePooling(TinyBertConfig()), tensors), tensors};
}

FloatModel Mlp(const std::string& activation) {
  MemoryTensors tensors;
  for (const char* layer : {"fc1", "fc2", "fc3"}) {
    tensors.SetRandom(std::string(layer) + ".weight", {6, 6});
    tensors.SetRandom(std::string(layer) + ".bias", {6});
  }
  const std::string config =
      R"({"model_type": "mlp", "layers": ["fc1", "fc2", "fc3"],
          "hidden_act": ")" +
      activation + R"("})";
  return {*Import({{"config.json", config}}, tensors), tensors};
}

// norm(x) is read by "gate" and "up" alone, as in models with norms in front.
FloatModel PreNorm() {
  const auto linear = [](const char* layer, ValueId input, ValueId output) {
    Linear step{};
    step.layer = layer;
    step.has_bias = true;
    step.in_features = step.out_features = 4;
    step.input = input;
    step.output = output;
    return step;
  };
  FloatModel model;
  model.graph.family = "test";
  model.graph.input = InputKind::kFeatures;
  model.graph.input_width = 4;
  model.graph.widths = {4, 4, 4, 4};
  Linear up = linear("up", 1, 3);
  up.residual = 2;
  model.graph.operators = {LayerNorm{"norm", 1e-6F, 0, 1}, linear("gate", 1, 2),
                           up};
  model.graph.output = 3;
  model.tensors.SetRandom("norm.weight", {4});
  model.tensors.SetRandom("norm.bias", {4});
  for (const char* layer : {"gate", "up"}) {
    model.tensors.SetRandom(std::string(layer) + ".weight", {4, 4});
    model.tensors.SetRandom(std::string(layer) + ".bias", {4});
  }
  return model;
}

ModelInput Rows(size_t rows, size_t columns) {
  ModelInput input;
  input.feature_rows = rows;
  for (size_t i = 0; i < rows * columns; ++i) {
    input.features.push_back(std::sin(static_cast<float>(3 * i + 1)));
  }
  return input;
}

TEST(FoldSmoothing, OfAttentionsOutputGoesIntoTheValues) {
  const FloatModel model = Bert();
  const SmoothingFolds folds =
      FoldSmoothing(model.graph, SmoothAll(model.graph));
  // Norms feed residuals, and GELU does not scale with its input.
  EXPECT_THAT(folds.divided, UnorderedElementsAre(
                                 Key("encoder.layer.0.attention.self.value"),
                                 Key("encoder.layer.1.attention.self.value")));
  EXPECT_THAT(
      folds.multiplied,
      UnorderedElementsAre(Key("encoder.layer.0.attention.output.dense"),
                           Key("encoder.layer.1.attention.output.dense")));
  ModelInput input;
  input.token_ids = {3, 19, 0, 7, 7, 1};
  input.lengths = {2, 4};
  ExpectSameModel(model, input, folds);
}

TEST(FoldSmoothing, PassesReluAndNoOtherActivation) {
  const FloatModel relu = Mlp("relu");
  const SmoothingFolds folds = FoldSmoothing(relu.graph, SmoothAll(relu.graph));
  EXPECT_THAT(folds.divided, UnorderedElementsAre(Key("fc1"), Key("fc2")));
  EXPECT_THAT(folds.multiplied, UnorderedElementsAre(Key("fc2"), Key("fc3")));
  ExpectSameModel(relu, Rows(5, 6), folds);
  const FloatModel gelu = Mlp("gelu");
  EXPECT_THAT(FoldSmoothing(gelu.graph, SmoothAll(gelu.graph)).divided,
              IsEmpty());
}

TEST(FoldSmoothing, GoesIntoANormThatOnlyLinearsRead) {
  FloatModel model = PreNorm();
  const LayerFactors smoothing = SmoothAll(model.graph);
  const SmoothingFolds folds = FoldSmoothing(model.graph, smoothing);
  EXPECT_THAT(folds.divided, UnorderedElementsAre(Key("norm")));
  EXPECT_THAT(folds.multiplied, UnorderedElementsAre(Key("gate"), Key("up")));
  ExpectSameModel(model, Rows(5, 4), folds);
  // The residual is the norm's output: as in models with norms behind.
  std::get<Linear>(model.graph.operators[2]).residual = 1;
  EXPECT_THAT(FoldSmoothing(model.graph, smoothing).divided, IsEmpty());
}

TEST(FoldSmoothing, NeedsAllReadersToShareTheFactors) {
  const FloatModel model = PreNorm();
  LayerFactors smoothing = SmoothAll(model.graph);
  smoothing["up"][2] *= 2;
  EXPECT_THAT(FoldSmoothing(model.graph, smoothing).divided, IsEmpty());
  smoothing.erase("up");
  EXPECT_THAT(FoldSmoothing(model.graph, smoothing).divided, IsEmpty());
}

TEST(FoldSmoothing, WhatLeavesTheModelIsLeftAlone) {
  FloatModel model = Mlp("relu");
  model.graph.hidden = std::get<Linear>(model.graph.operators[0]).output;
  EXPECT_THAT(FoldSmoothing(model.graph, SmoothAll(model.graph)).divided,
              UnorderedElementsAre(Key("fc2")));
  model.graph.input = InputKind::kNone;
  EXPECT_THAT(FoldSmoothing(model.graph, SmoothAll(model.graph)).divided,
              IsEmpty());
}

TEST(FoldedTensors, FactorsMustFit) {
  const FloatModel model = Mlp("relu");
  const auto folded =
      FoldedTensors::Create(model.tensors, {{{"fc1", {1, 2}}}, {}});
  EXPECT_EQ(folded.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(folded.status().message()),
              HasSubstr("tensor 'fc1.weight' has shape [6, 6]; the smoothing "
                        "has 2 factors"));
}

}  // namespace
}  // namespace octet::model
