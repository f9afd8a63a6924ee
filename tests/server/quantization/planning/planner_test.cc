#include "server/quantization/planning/planner.h"

#include <cmath>
#include <deque>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/quantization/planning/input_plan.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

using model::Scheme;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using absl::StatusCode::kInvalidArgument;

void AddLinear(const std::string& layer, size_t in, size_t out,
               model::ValueId input, model::ValueId output,
               model::Graph& graph) {
  model::Linear linear{};
  linear.layer = layer;
  linear.in_features = in;
  linear.out_features = out;
  linear.input = input;
  linear.output = output;
  graph.operators.emplace_back(linear);
}

// q, k and v read value 0; then two linears in a row.
model::Graph Attentive() {
  model::Graph graph;
  graph.family = "bert";
  graph.input = model::InputKind::kTokens;
  AddLinear("a.0.query", 8, 8, 0, 1, graph);
  AddLinear("a.0.key", 8, 8, 0, 2, graph);
  AddLinear("a.0.value", 8, 8, 0, 3, graph);
  AddLinear("a.0.out", 8, 8, 4, 5, graph);
  AddLinear("a.1.up", 8, 8, 5, 6, graph);
  return graph;
}

// Lives as long as the test program.
const LayerStatistics* Seen(const std::vector<float>& row) {
  static std::deque<LayerStatistics> all;
  LayerStatistics& statistics = all.emplace_back(row.size());
  statistics.Observe({row.data(), 1, row.size()});
  return &statistics;
}

StatisticsByLayer AllSeen(const model::Graph& graph) {
  StatisticsByLayer statistics;
  for (const model::Linear* linear : graph.Linears()) {
    statistics[linear->layer] = Seen({1, -2, 3, -4, 5, 6, 7, 0.5F});
  }
  return statistics;
}

Scheme SchemeOf(const QuantizationPlan& plan, const std::string& layer) {
  return plan.layers.find(layer)->second.scheme.scheme;
}

std::string ReasonOf(const QuantizationPlan& plan, const std::string& layer) {
  return plan.layers.find(layer)->second.reason;
}

TEST(PlanFromStatistics, QuantizesEveryLinearByDefault) {
  const auto plan = PlanFromStatistics(Attentive(), {}, {});
  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(plan->layers.size(), 5);
  for (const auto& [layer, layer_plan] : plan->layers) {
    EXPECT_EQ(layer_plan.scheme.scheme, Scheme::kW8A8Dynamic) << layer;
    EXPECT_EQ(layer_plan.reason, "") << layer;
  }
  EXPECT_THAT(plan->warnings, IsEmpty());
}

TEST(PlanFromStatistics, ExcludeWinsOverInclude) {
  PlanRequest request;
  request.include = {"a.0.*"};
  request.exclude = {"*.out"};
  request.float_scheme = Scheme::kBf16;
  const auto plan = PlanFromStatistics(Attentive(), request, {});
  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(SchemeOf(*plan, "a.0.query"), Scheme::kW8A8Dynamic);
  EXPECT_EQ(SchemeOf(*plan, "a.0.out"), Scheme::kBf16);
  EXPECT_THAT(ReasonOf(*plan, "a.0.out"), HasSubstr("*.out"));
  EXPECT_EQ(SchemeOf(*plan, "a.1.up"), Scheme::kBf16);
  EXPECT_THAT(ReasonOf(*plan, "a.1.up"), HasSubstr("include"));
}

TEST(PlanFromStatistics, KeepFirstKeepsAllThatReadTheFirstInput) {
  PlanRequest request;
  request.keep_first = true;
  request.keep_last = true;
  const auto plan = PlanFromStatistics(Attentive(), request, {});
  ASSERT_THAT(plan, IsOk());
  for (const char* layer : {"a.0.query", "a.0.key", "a.0.value", "a.1.up"}) {
    EXPECT_EQ(SchemeOf(*plan, layer), Scheme::kFp16) << layer;
    EXPECT_NE(ReasonOf(*plan, layer), "") << layer;
  }
  EXPECT_EQ(SchemeOf(*plan, "a.0.out"), Scheme::kW8A8Dynamic);
}

TEST(PlanFromStatistics, LinearsOfALinearSetAreStrangers) {
  model::Graph graph;
  graph.family = "linear_set";
  AddLinear("first", 8, 8, 0, 0, graph);
  AddLinear("second", 8, 8, 0, 0, graph);
  PlanRequest request;
  request.keep_first = true;
  const auto plan = PlanFromStatistics(graph, request, {});
  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(SchemeOf(*plan, "first"), Scheme::kFp16);
  EXPECT_EQ(SchemeOf(*plan, "second"), Scheme::kW8A8Dynamic);
}

TEST(PlanFromStatistics, TheLastOverrideThatMatchesWins) {
  PlanRequest request;
  request.exclude = {"a.0.out"};
  request.overrides = {{"a.0.*", Scheme::kBf16},
                       {"*.out", Scheme::kW8A8Dynamic},
                       {"*.key", Scheme::kFp32}};
  const auto plan = PlanFromStatistics(Attentive(), request, {});
  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(SchemeOf(*plan, "a.0.query"), Scheme::kBf16);
  EXPECT_EQ(SchemeOf(*plan, "a.0.key"), Scheme::kFp32);
  EXPECT_EQ(SchemeOf(*plan, "a.0.out"), Scheme::kW8A8Dynamic);
  EXPECT_THAT(ReasonOf(*plan, "a.0.key"), HasSubstr("*.key"));
}

TEST(PlanFromStatistics, WarnsWhenLinearsOfOneInputDiffer) {
  PlanRequest request;
  request.exclude = {"*.key"};
  const auto plan = PlanFromStatistics(Attentive(), request, {});
  ASSERT_THAT(plan, IsOk());
  EXPECT_THAT(plan->warnings, ElementsAre(HasSubstr("'a.0.key'")));
}

TEST(PlanFromStatistics, WarnsWhenNothingIsQuantized) {
  PlanRequest request;
  request.scheme = Scheme::kFp16;
  const auto plan = PlanFromStatistics(Attentive(), request, {});
  ASSERT_THAT(plan, IsOk());
  EXPECT_THAT(plan->warnings, Contains(HasSubstr("no layer")));
}

TEST(PlanFromStatistics, TooFewInputsStayFloat) {
  model::Graph graph;
  graph.input = model::InputKind::kFeatures;
  AddLinear("narrow", 3, 8, 0, 1, graph);
  AddLinear("wide", 8, 8, 1, 2, graph);
  const auto plan = PlanFromStatistics(graph, {}, {});
  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(SchemeOf(*plan, "narrow"), Scheme::kFp16);
  EXPECT_THAT(ReasonOf(*plan, "narrow"), HasSubstr("3 inputs"));
  EXPECT_EQ(SchemeOf(*plan, "wide"), Scheme::kW8A8Dynamic);
}

TEST(PlanFromStatistics, PatternsThatMatchNothingAreRefused) {
  PlanRequest request;
  request.include = {"b.*"};
  EXPECT_THAT(PlanFromStatistics(Attentive(), request, {}),
              FailsWith(kInvalidArgument, "include: pattern 'b.*'"));
  request = {};
  request.exclude = {"nothing"};
  EXPECT_THAT(PlanFromStatistics(Attentive(), request, {}),
              FailsWith(kInvalidArgument, "exclude: pattern 'nothing'"));
  request = {};
  request.overrides = {{"x", Scheme::kFp16}};
  EXPECT_THAT(PlanFromStatistics(Attentive(), request, {}),
              FailsWith(kInvalidArgument, "overrides: pattern 'x'"));
  request.overrides = {{std::string(1000, '*'), Scheme::kFp16}};
  EXPECT_THAT(PlanFromStatistics(Attentive(), request, {}),
              FailsWith(kInvalidArgument, "1000 bytes"));
}

TEST(PlanFromStatistics, ThresholdsMustBePositiveNumbers) {
  for (const double threshold : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    PlanRequest request;
    request.outlier_threshold = threshold;
    EXPECT_THAT(PlanFromStatistics(Attentive(), request, {}),
                FailsWith(kInvalidArgument, "outlier_threshold"));
  }
}

TEST(PlanFromStatistics, FloatSchemeMustBeFloat) {
  PlanRequest request;
  request.float_scheme = Scheme::kLlmInt8;
  EXPECT_THAT(PlanFromStatistics(Attentive(), request, {}),
              FailsWith(kInvalidArgument, "float_scheme"));
}

TEST(PlanFromStatistics, StaticAndOutlierSchemesNeedStatistics) {
  for (const Scheme scheme : {Scheme::kW8A8Static, Scheme::kLlmInt8}) {
    PlanRequest request;
    request.scheme = scheme;
    EXPECT_THAT(PlanFromStatistics(Attentive(), request, {}),
                FailsWith(absl::StatusCode::kFailedPrecondition, "a.0.query"));
  }
}

TEST(PlanFromStatistics, StatisticsOfAnotherWidthAreRefused) {
  StatisticsByLayer statistics = AllSeen(Attentive());
  statistics["a.1.up"] = Seen({1, 2, 3});
  PlanRequest request;
  request.scheme = Scheme::kW8A8Static;
  EXPECT_THAT(PlanFromStatistics(Attentive(), request, statistics),
              FailsWith(kInvalidArgument, "a.1.up"));
}

TEST(PlanFromStatistics, LinearsOfOneInputShareTheStaticRange) {
  StatisticsByLayer statistics = AllSeen(Attentive());
  const LayerStatistics* shared = Seen({-10, 0, 0, 0, 0, 0, 0, 15.5F});
  for (const char* layer : {"a.0.query", "a.0.key", "a.0.value"}) {
    statistics[layer] = shared;
  }
  PlanRequest request;
  request.scheme = Scheme::kW8A8Static;
  const auto plan = PlanFromStatistics(Attentive(), request, statistics);
  ASSERT_THAT(plan, IsOk());
  for (const char* layer : {"a.0.query", "a.0.key", "a.0.value"}) {
    EXPECT_EQ(plan->layers.find(layer)->second.input,
              AffineFromRange(-10.0F, 15.5F))
        << layer;
  }
  EXPECT_EQ(plan->layers.find("a.0.out")->second.input,
            AffineFromRange(-4.0F, 7.0F));
}

// Many values near zero, and one far from them.
const LayerStatistics* SeenAnOutlier() {
  static const std::vector<float> rows = [] {
    std::vector<float> values = RandomValues(500 * 8, /*seed=*/21);
    values[77] = 50.0F;
    return values;
  }();
  static LayerStatistics statistics(8);
  if (statistics.rows == 0) statistics.Observe({rows.data(), 500, 8});
  return &statistics;
}

AffineParameters Chosen(Calibrator calibrator, double percentile) {
  const Range range = ChooseRange(calibrator, *SeenAnOutlier(), percentile);
  return AffineFromRange(range.min, range.max);
}

TEST(PlanFromStatistics, TheCalibratorChoosesTheStaticRange) {
  const model::Graph graph = Attentive();
  StatisticsByLayer statistics;
  for (const model::Linear* linear : graph.Linears()) {
    statistics[linear->layer] = SeenAnOutlier();
  }
  PlanRequest request;
  request.scheme = Scheme::kW8A8Static;
  request.methods.calibrator = Calibrator::kMse;
  MethodsOverride percentile;
  percentile.calibrator = Calibrator::kPercentile;
  percentile.percentile = 99.0;
  request.overrides = {{"*.out", {}, percentile}};
  const auto plan = PlanFromStatistics(graph, request, statistics);
  ASSERT_THAT(plan, IsOk());
  const AffineParameters mse = Chosen(Calibrator::kMse, kDefaultPercentile);
  const AffineParameters clipped = Chosen(Calibrator::kPercentile, 99.0);
  ASSERT_NE(mse, Chosen(Calibrator::kMinMax, kDefaultPercentile));
  ASSERT_NE(mse, clipped);
  for (const auto& [layer, layer_plan] : plan->layers) {
    const bool is_overridden = layer == "a.0.out";
    EXPECT_EQ(layer_plan.input, is_overridden ? clipped : mse) << layer;
    EXPECT_EQ(layer_plan.calibrator,
              is_overridden ? Calibrator::kPercentile : Calibrator::kMse)
        << layer;
  }
}

// Batches of 10 rows: most have smaller extremes than all of them together.
TEST(PlanInput, AMovingAverageBehindARotationIsOverBatches) {
  constexpr size_t kRows = 400;
  const std::vector<float> values = RandomValues(kRows * 8, /*seed=*/23);
  LayerStatistics statistics(8);
  for (size_t r = 0; r < kRows; r += 10) {
    statistics.Observe({values.data() + r * 8, 10, 8});
  }
  InputFacts facts{.layer = "fc",
                   .statistics = &statistics,
                   .samples = {},
                   .weights = nullptr};
  facts.samples.rows = {values.data(), kRows, 8};
  LayerRequest request{
      .scheme = Scheme::kW8A8Static, .methods = {}, .reason = {}};
  const auto scale = [&](Calibrator calibrator, uint32_t block) {
    request.methods.calibrator = calibrator;
    request.methods.hadamard_block = block;
    std::vector<std::string> warnings;
    const auto plan = PlanInput(request, {}, facts, nullptr, warnings);
    EXPECT_THAT(plan, IsOk());
    return plan->input.scale;
  };
  const float extremes = scale(Calibrator::kMinMax, 8);
  const float average = scale(Calibrator::kMovingAverage, 8);
  EXPECT_LT(average, 0.8F * extremes);
  // Normal values stay normal values.
  EXPECT_NEAR(average, scale(Calibrator::kMovingAverage, 0), 0.1F * average);
}

TEST(PlanFromStatistics, AbsoluteRuleTakesColumnsThatReachTheThreshold) {
  PlanRequest request;
  request.scheme = Scheme::kLlmInt8;
  const auto plan =
      PlanFromStatistics(Attentive(), request, AllSeen(Attentive()));
  ASSERT_THAT(plan, IsOk());
  for (const auto& [layer, layer_plan] : plan->layers) {
    EXPECT_EQ(layer_plan.scheme.outlier_threshold, 6.0F) << layer;
    EXPECT_THAT(layer_plan.outlier_columns, ElementsAre(5, 6)) << layer;
  }
}

TEST(PlanFromStatistics, SigmaRuleStoresAnAbsoluteThreshold) {
  const StatisticsByLayer statistics = AllSeen(Attentive());
  const double sigma = statistics.find("a.0.out")->second->sigma();
  PlanRequest request;
  request.scheme = Scheme::kLlmInt8;
  request.outlier_rule = OutlierRule::kSigma;
  request.outlier_threshold = 1.5;  // 1.5 sigma = 5.2
  const auto plan = PlanFromStatistics(Attentive(), request, statistics);
  ASSERT_THAT(plan, IsOk());
  const LayerPlan& layer = plan->layers.find("a.0.out")->second;
  EXPECT_FLOAT_EQ(layer.scheme.outlier_threshold, 1.5 * sigma);
  EXPECT_THAT(layer.outlier_columns, ElementsAre(5, 6));
}

TEST(PlanFromStatistics, SigmaRuleWithoutVariationTakesNothingOut) {
  StatisticsByLayer statistics = AllSeen(Attentive());
  statistics["a.1.up"] = Seen(std::vector<float>(8, 0.0F));
  PlanRequest request;
  request.scheme = Scheme::kLlmInt8;
  request.outlier_rule = OutlierRule::kSigma;
  const auto plan = PlanFromStatistics(Attentive(), request, statistics);
  ASSERT_THAT(plan, IsOk());
  const LayerPlan& layer = plan->layers.find("a.1.up")->second;
  EXPECT_EQ(layer.scheme.outlier_threshold, 0.0F);
  EXPECT_THAT(layer.outlier_columns, IsEmpty());
  EXPECT_THAT(plan->warnings, Contains(HasSubstr("a.1.up")));
}

TEST(PlanFromStatistics, WarnsWhenMostOfALayerIsOutliers) {
  PlanRequest request;
  request.scheme = Scheme::kLlmInt8;
  request.outlier_threshold = 0.75;
  const auto plan =
      PlanFromStatistics(Attentive(), request, AllSeen(Attentive()));
  ASSERT_THAT(plan, IsOk());
  EXPECT_THAT(plan->warnings, Contains(HasSubstr("7 of 8 input columns")));
}

}  // namespace
}  // namespace octet::quantization
