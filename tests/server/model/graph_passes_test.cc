#include "server/model/graph_passes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/model/importer.h"
#include "tests/server/model/small_encoder.h"
#include "tests/server/model/tiny_bert.h"

namespace octet::model {
namespace {

using kernels::AttentionPrecision;

std::vector<AttentionPrecision> PrecisionsUnder(const Plan& plan) {
  auto graph = Import(TinyBertConfig(), TinyBertTensors());
  UseBf16Attention(*graph, plan);
  std::vector<AttentionPrecision> precisions;
  for (const Operator& op : graph->operators) {
    if (const auto* attention = std::get_if<Attention>(&op)) {
      precisions.push_back(attention->precision);
    }
  }
  return precisions;
}

Plan SelfAttentionIn(Scheme scheme) {
  Plan plan;
  for (const char* name : {"query", "key", "value"}) {
    plan[std::string("encoder.layer.1.attention.self.") + name] = {scheme};
  }
  return plan;
}

TEST(UseBf16Attention, OnlyWhereQueryKeyAndValueAreInt8) {
  using enum AttentionPrecision;
  EXPECT_EQ(PrecisionsUnder({}), (std::vector{kFp32, kFp32}));
  EXPECT_EQ(PrecisionsUnder(SelfAttentionIn(Scheme::kBf16)),
            (std::vector{kFp32, kFp32}));
  for (const Scheme scheme :
       {Scheme::kW8A8Dynamic, Scheme::kW8A8Static, Scheme::kLlmInt8}) {
    EXPECT_EQ(PrecisionsUnder(SelfAttentionIn(scheme)),
              (std::vector{kFp32, kBf16}));
  }
  Plan plan = SelfAttentionIn(Scheme::kW8A8Dynamic);
  plan["encoder.layer.1.attention.self.key"] = {Scheme::kFp32};
  EXPECT_EQ(PrecisionsUnder(plan), (std::vector{kFp32, kFp32}));
}

std::vector<std::string> LinearsAfterFuseQkv(const Plan& plan,
                                             const MemoryTensors& tensors) {
  Graph graph = SmallEncoderGraph();
  FuseQkv(graph, plan, tensors);
  std::vector<std::string> layers;
  for (const Linear* linear : graph.Linears()) layers.push_back(linear->layer);
  return layers;
}

const std::vector<std::string> kApart = {
    "attention.q", "attention.k", "attention.v", "attention.out", "up", "down"};

TEST(FuseQkv, ThreeLinearsBecomeOne) {
  const Plan plan = SmallEncoderPlan({Scheme::kW8A8Dynamic});
  Graph graph = SmallEncoderGraph();
  FuseQkv(graph, plan, SmallEncoderTensors());
  EXPECT_EQ(graph.operators.size(), SmallEncoderGraph().operators.size() - 2);
  const auto& all = std::get<Linear>(graph.operators[2]);
  EXPECT_EQ(all.layer, "attention.q+attention.k+attention.v");
  EXPECT_EQ(all.out_features, 192);
  EXPECT_EQ(all.parts.size(), 3);
  EXPECT_EQ(graph.widths[all.output], 192);
  const auto& attention = std::get<Attention>(graph.operators[3]);
  for (const ValueId id : {attention.query, attention.key, attention.value}) {
    EXPECT_EQ(id, all.output);
  }
  EXPECT_EQ(attention.query_column, 0);
  EXPECT_EQ(attention.key_column, 64);
  EXPECT_EQ(attention.value_column, 128);
}

TEST(FuseQkv, OnlyWhatTreatsTheInputAlikeIsFused) {
  MemoryTensors tensors = SmallEncoderTensors();
  EXPECT_EQ(LinearsAfterFuseQkv(SmallEncoderPlan({}), tensors), kApart);
  Plan plan = SmallEncoderPlan({Scheme::kW8A8Dynamic});
  plan["attention.k"] = {Scheme::kW8A8Static};
  EXPECT_EQ(LinearsAfterFuseQkv(plan, tensors), kApart);
  plan = SmallEncoderPlan({Scheme::kW8A8Static});
  EXPECT_EQ(LinearsAfterFuseQkv(plan, tensors).size(), 4);
  tensors.SetFloat("attention.v.input_scale", {1}, {0.04F});
  EXPECT_EQ(LinearsAfterFuseQkv(plan, tensors), kApart);
}

TEST(FuseQkv, AValueThatSomebodyElseReadsKeepsItsLinear) {
  Graph graph = SmallEncoderGraph();
  graph.hidden = 3;  // keys
  FuseQkv(graph, SmallEncoderPlan({Scheme::kW8A8Dynamic}),
          SmallEncoderTensors());
  EXPECT_EQ(graph.Linears().size(), 6);
}

TEST(FuseNormQuantize, EveryPlainLinearAfterANormTakesItsCodes) {
  const Plan plan = SmallEncoderPlan({Scheme::kW8A8Dynamic});
  Graph graph = SmallEncoderGraph();
  FuseNormQuantize(graph, plan);
  const auto& before_attention = std::get<LayerNorm>(graph.operators[1]);
  const auto& before_up = std::get<LayerNorm>(graph.operators[7]);
  ASSERT_TRUE(before_attention.codes && before_up.codes);
  EXPECT_FALSE(std::get<LayerNorm>(graph.operators[10]).codes);
  for (const Linear* linear : graph.Linears()) {
    SCOPED_TRACE(linear->layer);
    const bool after_norm = linear->layer == "attention.q" ||
                            linear->layer == "attention.k" ||
                            linear->layer == "attention.v";
    const bool up = linear->layer == "up";
    EXPECT_EQ(linear->takes_codes, after_norm || up);
    if (linear->takes_codes) {
      EXPECT_EQ(linear->input, up ? *before_up.codes : *before_attention.codes);
    }
  }
  EXPECT_EQ(graph.widths[*before_up.codes], 64 / 4 + 1);
}

std::vector<std::string> ReadersOfCodesUnder(const Plan& plan) {
  Graph graph = SmallEncoderGraph();
  FuseQkv(graph, plan, SmallEncoderTensors());
  FuseNormQuantize(graph, plan);
  std::vector<std::string> layers;
  for (const Linear* linear : graph.Linears()) {
    if (linear->takes_codes) layers.push_back(linear->layer);
  }
  return layers;
}

// Whatever the codes are, the three that became one linear read the same.
TEST(FuseNormQuantize, StaticSmoothedAndRotatedLinearsTakeCodesOfTheirOwn) {
  for (const LinearScheme& scheme :
       {LinearScheme{Scheme::kW8A8Static},
        LinearScheme{Scheme::kW8A8Dynamic, 0.0F, 0, 0, true},
        LinearScheme{Scheme::kW8A8Dynamic, 0.0F, 0, 64, false},
        LinearScheme{Scheme::kW8A8Static, 0.0F, 0, 64, true}}) {
    EXPECT_EQ(ReadersOfCodesUnder(SmallEncoderPlan(scheme)),
              (std::vector<std::string>{"attention.q+attention.k+attention.v",
                                        "up"}));
  }
}

TEST(FuseNormQuantize, CodesOfDifferentKindsAreNotMixed) {
  Plan plan = SmallEncoderPlan({Scheme::kW8A8Static});
  plan["attention.k"] = {Scheme::kW8A8Dynamic};
  EXPECT_EQ(ReadersOfCodesUnder(plan),
            (std::vector<std::string>{"attention.k", "up"}));
  plan["attention.k"] = {Scheme::kW8A8Static, 0.0F, 0, 64, false};
  EXPECT_EQ(ReadersOfCodesUnder(plan),
            (std::vector<std::string>{"attention.q", "up"}));
  plan["attention.q"] = {Scheme::kLlmInt8, 6.0F};
  EXPECT_EQ(ReadersOfCodesUnder(plan),
            (std::vector<std::string>{"attention.k", "up"}));
}

TEST(FuseNormQuantize, LinearsThatNeedTheFloatsKeepThem) {
  for (const LinearScheme& scheme :
       {LinearScheme{}, LinearScheme{Scheme::kLlmInt8, 6.0F}}) {
    Graph graph = SmallEncoderGraph();
    FuseNormQuantize(graph, SmallEncoderPlan(scheme));
    EXPECT_EQ(graph.widths.size(), SmallEncoderGraph().widths.size());
    for (const Linear* linear : graph.Linears()) {
      EXPECT_FALSE(linear->takes_codes) << linear->layer;
    }
  }
}

}  // namespace
}  // namespace octet::model
