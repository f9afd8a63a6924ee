#include "server/quantization/planning/policy.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

using model::Scheme;

using absl::StatusCode::kInvalidArgument;

// "up" and "down", 64 wide, one after the other.
model::Graph TwoLinears() {
  model::Graph graph;
  graph.input = model::InputKind::kFeatures;
  for (const char* layer : {"up", "down"}) {
    model::Linear linear{};
    linear.layer = layer;
    linear.in_features = 64;
    linear.out_features = 64;
    linear.input = graph.operators.size();
    linear.output = linear.input + 1;
    graph.operators.emplace_back(linear);
  }
  return graph;
}

PlanRequest Auto(const Budget& budget) {
  PlanRequest request;
  request.policy = Policy::kAuto;
  request.budget = budget;
  return request;
}

TEST(ResolveRequest, AnOverrideChangesWhatItNamesAndNothingElse) {
  PlanRequest request;
  request.methods.rounding = Rounding::kGptq;
  request.methods.hadamard_block = 64;
  MethodsOverride grouped;
  grouped.group_size = 32;
  request.overrides = {{"down", std::nullopt, grouped}};
  const auto layers = ResolveRequest(TwoLinears(), request);
  ASSERT_THAT(layers, IsOk());
  EXPECT_EQ(layers->at("up").methods, request.methods);
  Methods expected = request.methods;
  expected.group_size = 32;
  EXPECT_EQ(layers->at("down").methods, expected);
  EXPECT_EQ(layers->at("down").scheme, Scheme::kW8A8Dynamic);
}

TEST(ResolveRequest, AnOverrideWithoutASchemeKeepsAFloatLayerFloat) {
  PlanRequest request;
  request.exclude = {"down"};
  MethodsOverride smoothed;
  smoothed.smoothing = Smoothing::kSearch;
  request.overrides = {{"down", std::nullopt, smoothed}};
  const auto layers = ResolveRequest(TwoLinears(), request);
  ASSERT_THAT(layers, IsOk());
  EXPECT_EQ(layers->at("down").scheme, Scheme::kFp16);
  EXPECT_EQ(layers->at("down").methods, Methods());
  EXPECT_NE(layers->at("down").reason, "");
}

TEST(ResolveRequest, AutoMayChooseWhatNothingNames) {
  PlanRequest request = Auto({.min_mean_cosine = 0.999});
  request.overrides = {{"down", Scheme::kLlmInt8}};
  const auto layers = ResolveRequest(TwoLinears(), request);
  ASSERT_THAT(layers, IsOk());
  EXPECT_TRUE(layers->at("up").is_free);
  EXPECT_FALSE(layers->at("down").is_free);
  EXPECT_EQ(layers->at("down").scheme, Scheme::kLlmInt8);
}

TEST(SplitByRequest, PartsAreWhatIsAskedForAlike) {
  const model::Graph graph = TwoLinears();
  const std::vector<const model::Linear*> linears = graph.Linears();
  LayerRequest plain;
  plain.scheme = Scheme::kW8A8Dynamic;
  LayerRequest rotated = plain;
  rotated.methods.hadamard_block = 16;
  const InputGroup group = {linears[0], linears[1]};
  EXPECT_EQ(SplitByRequest(group, {{"up", plain}, {"down", plain}}).size(), 1);
  const auto parts = SplitByRequest(group, {{"up", plain}, {"down", rotated}});
  ASSERT_EQ(parts.size(), 2);
  EXPECT_EQ(parts[1].linears, InputGroup{linears[1]});
  EXPECT_EQ(parts[1].request.methods, rotated.methods);
}

TEST(ResolveRequest, AutoNeedsExactlyOneLimit) {
  EXPECT_THAT(ResolveRequest(TwoLinears(), Auto({})),
              FailsWith(kInvalidArgument, "0 are set"));
  EXPECT_THAT(ResolveRequest(TwoLinears(), Auto({.min_worst_cosine = 0.9})),
              FailsWith(kInvalidArgument, "0 are set"));
  EXPECT_THAT(ResolveRequest(TwoLinears(),
                             Auto({.min_mean_cosine = 0.9, .max_bytes = 100})),
              FailsWith(kInvalidArgument, "2 are set"));
}

TEST(ResolveRequest, FixedTakesNoBudgetAndAutoNoMethods) {
  PlanRequest request;
  request.budget.min_mean_cosine = 0.99;
  EXPECT_THAT(ResolveRequest(TwoLinears(), request),
              FailsWith(kInvalidArgument, "budget"));
  request = Auto({.min_mean_cosine = 0.99});
  request.methods.group_size = 32;
  EXPECT_THAT(ResolveRequest(TwoLinears(), request),
              FailsWith(kInvalidArgument, "methods"));
}

TEST(ResolveRequest, LimitsOutOfTheirRangeAreNamed) {
  for (const double value : {-0.5, 0.0, 1.0, 2.0, std::nan("")}) {
    EXPECT_THAT(ResolveRequest(TwoLinears(), Auto({.min_mean_cosine = value})),
                FailsWith(kInvalidArgument, "budget.min_mean_cosine"))
        << value;
  }
  for (const double value : {-1.0, 0.0, 1.5, std::nan("")}) {
    EXPECT_THAT(
        ResolveRequest(TwoLinears(), Auto({.max_relative_error = value})),
        FailsWith(kInvalidArgument, "budget.max_relative_error"));
    EXPECT_THAT(ResolveRequest(TwoLinears(), Auto({.max_size_ratio = value})),
                FailsWith(kInvalidArgument, "budget.max_size_ratio"));
  }
  EXPECT_THAT(ResolveRequest(TwoLinears(), Auto({.max_bytes = 0})),
              FailsWith(kInvalidArgument, "budget.max_bytes"));
}

TEST(ResolveRequest, MethodsOutOfTheirRangeAreNamed) {
  const auto refused = [](const auto& change, const char* field) {
    PlanRequest request;
    change(request.methods);
    EXPECT_THAT(ResolveRequest(TwoLinears(), request),
                FailsWith(kInvalidArgument, field));
  };
  refused([](Methods& m) { m.smoothing_alpha = 1.5; },
          "methods.smoothing_alpha");
  refused([](Methods& m) { m.smoothing_alpha = std::nan(""); },
          "methods.smoothing_alpha");
  refused([](Methods& m) { m.group_size = 48; }, "methods.group_size");
  refused([](Methods& m) { m.hadamard_block = 100; }, "methods.hadamard_block");
  refused([](Methods& m) { m.percentile = 12; }, "methods.percentile");
  PlanRequest request;
  MethodsOverride wrong;
  wrong.group_size = 7;
  request.overrides = {{"up", Scheme::kFp16}, {"up", std::nullopt, wrong}};
  EXPECT_THAT(ResolveRequest(TwoLinears(), request),
              FailsWith(kInvalidArgument, "overrides[1].methods.group_size"));
}

}  // namespace
}  // namespace octet::quantization
