#include "server/model/graph_passes.h"

#include <gtest/gtest.h>

#include "server/model/importer.h"
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

}  // namespace
}  // namespace octet::model
