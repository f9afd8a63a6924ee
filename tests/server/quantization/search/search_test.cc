#include "server/quantization/search/search.h"

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/model/importer.h"
#include "server/quantization/calibration/hold_out.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

using model::Scheme;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr auto kFailed = absl::StatusCode::kFailedPrecondition;
constexpr size_t kSamples = 64;

// The small MLP, with inputs of which one is far larger than the others.
class PlanSearchTest : public ::testing::Test {
 protected:
  PlanSearchTest() {
    Use(MlpTensors(), kMlpIn);
    request_.policy = Policy::kAuto;
  }

  void Use(const std::vector<SmallTensor>& tensors, size_t columns,
           std::string_view config = kMlpConfig) {
    WriteCheckpoint(directory_.path(), tensors, config);
    opened_ = OpenFloat(directory_.path());
    calibration_ = NewCalibration("mlp", {});
    std::vector<float> x = RandomValues(kSamples * columns, /*seed=*/3);
    for (size_t r = 0; r < kSamples; ++r) x[r * columns + 5] *= 40.0F;
    EXPECT_THAT(ObserveInputs(*opened_.model, Features(std::move(x), kSamples),
                              nullptr, calibration_),
                IsOk());
    HoldOut(calibration_);
  }

  // So wide that INT8 is what is fastest.
  void UseWideModel() {
    constexpr size_t kIn = 128;
    constexpr size_t kHidden = 512;
    Use({{"fc1.weight", {kHidden, kIn}, RandomValues(kHidden * kIn, 5, 0.1F)},
         {"fc2.weight", {kIn, kHidden}, RandomValues(kIn * kHidden, 6, 0.1F)}},
        kIn);
  }

  // Of many layers, so that there are many plans between all INT8 and none.
  void UseDeepModel() {
    constexpr size_t kWidth = 192;
    std::vector<SmallTensor> tensors;
    for (const char* layer : {"a", "b", "c", "d", "e"}) {
      tensors.push_back(
          {std::string(layer) + ".weight",
           {kWidth, kWidth},
           RandomValues(kWidth * kWidth, 7 + tensors.size(), 0.1F)});
    }
    Use(tensors, kWidth,
        R"({"model_type": "mlp", "layers": ["a", "b", "c", "d", "e"],
            "hidden_act": "relu"})");
  }

  PlanSearch NewSearch() {
    return PlanSearch({.graph = opened_.model->graph(),
                       .checkpoint = *opened_.files.tensors,
                       .calibration = calibration_,
                       .request = request_,
                       .cancelled = cancelled_,
                       .on_step = [this](const std::string&) {
                         ++steps_;
                         return absl::OkStatus();
                       }});
  }

  absl::StatusOr<SearchResult> Search() { return NewSearch().Next(); }

  Scheme SchemeOf(const SearchResult& result, const std::string& layer) {
    return result.plan.layers.find(layer)->second.scheme.scheme;
  }

  TemporaryDirectory directory_;
  OpenedModel opened_;
  Calibration calibration_;
  PlanRequest request_;
  std::function<bool()> cancelled_;
  size_t steps_ = 0;
};

const bundle::FrontierPoint& Chosen(const SearchResult& result) {
  return *std::find_if(result.frontier.begin(), result.frontier.end(),
                       [](const auto& point) { return point.chosen; });
}

TEST_F(PlanSearchTest, KeepsToACosineAndSaysWhatItTried) {
  request_.budget.min_mean_cosine = 0.999;
  const auto result = Search();
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->plan.layers.size(), 2);
  EXPECT_GE(result->verified_plans, 1);
  // Half of the samples are held out; those that tuned are not among them.
  EXPECT_EQ(result->tuned_rows, 0);
  EXPECT_LE(steps_, SearchSteps(opened_.model->graph(), request_));
  EXPECT_TRUE(Chosen(*result).measured);
  EXPECT_GE(Chosen(*result).mean_row_cosine, 0.999);
  for (const auto& [layer, candidates] : result->candidates) {
    EXPECT_GT(candidates.size(), 5) << layer;
    EXPECT_EQ(std::count_if(candidates.begin(), candidates.end(),
                            [](const auto& c) { return c.chosen; }),
              1);
    for (const auto& candidate : candidates) {
      EXPECT_GT(candidate.microseconds, 0.0) << candidate.name;
      EXPECT_GT(candidate.stored_bytes, 0) << candidate.name;
    }
  }
}

TEST_F(PlanSearchTest, ATighterBudgetErrsLess) {
  request_.budget.max_relative_error = 0.2;
  const auto loose = Search();
  ASSERT_THAT(loose, IsOk());
  request_.budget.max_relative_error = 0.001;
  const auto tight = Search();
  ASSERT_THAT(tight, IsOk());
  EXPECT_LE(Chosen(*tight).relative_error, 0.001);
  EXPECT_LE(Chosen(*tight).relative_error, Chosen(*loose).relative_error);
}

TEST_F(PlanSearchTest, SaysWhyItCannotKeepToABudget) {
  request_.budget.min_mean_cosine = 1.0 - 2e-9;
  request_.float_scheme = Scheme::kBf16;
  const auto result = Search();
  EXPECT_THAT(result, FailsWith(kFailed, "no plan keeps to the budget"));
  EXPECT_THAT(result, FailsWith(kFailed, "'fc1'"));
  EXPECT_THAT(result, FailsWith(kFailed, "keep float layers in FP32"));
}

// Predictions are of means, so that the first plan fails.
TEST_F(PlanSearchTest, BacksOffUntilAPlanKeepsToTheWorstSample) {
  UseWideModel();
  request_.budget.min_mean_cosine = 0.5;
  const auto loose = Search();
  ASSERT_THAT(loose, IsOk());
  request_.budget.min_worst_cosine = 0.99999;
  const auto result = Search();
  ASSERT_THAT(result, IsOk());
  EXPECT_GT(result->verified_plans, 1);
  EXPECT_LT(Chosen(*result).relative_error, Chosen(*loose).relative_error);
}

size_t CountInt8(const SearchResult& result) {
  return std::count_if(result.plan.layers.begin(), result.plan.layers.end(),
                       [](const auto& layer) {
                         return model::IsInt8(layer.second.scheme.scheme);
                       });
}

bundle::QuantizationReport Measured(double mean_cosine, double worst_cosine) {
  bundle::QuantizationReport report;
  report.mean_row_cosine = mean_cosine;
  report.worst_row_cosine = worst_cosine;
  report.model_rows = kSamples;
  return report;
}

TEST_F(PlanSearchTest, GoesOnWhereAStoredPlanDidNotHold) {
  UseWideModel();
  request_.budget.min_mean_cosine = 0.99;
  PlanSearch search = NewSearch();
  const auto first = search.Next();
  ASSERT_THAT(first, IsOk());
  search.Refuse(Measured(0.98, 0.98));
  const auto second = search.Next();
  ASSERT_THAT(second, IsOk());
  EXPECT_GT(second->verified_plans, first->verified_plans);
  EXPECT_LT(Chosen(*second).relative_error, Chosen(*first).relative_error);
}

// However many plans with INT8 there are that the search takes to hold.
TEST_F(PlanSearchTest, ComesToThePlanThatErrsLeastBeforeItGivesUp) {
  UseDeepModel();
  request_.budget.min_mean_cosine = 0.9999;
  request_.budget.min_worst_cosine = 0.9;
  PlanSearch search = NewSearch();
  auto found = search.Next();
  ASSERT_THAT(found, IsOk());
  while (found.ok() && CountInt8(*found) > 0) {
    search.Refuse(Measured(/*mean_cosine=*/1.0, /*worst_cosine=*/0.899));
    found = search.Next();
  }
  EXPECT_THAT(found, IsOk());
}

// Its mean may hold by far.
TEST_F(PlanSearchTest, LowersTheLimitAsFarAsTheWorstSampleIsBeyondIt) {
  UseDeepModel();
  request_.budget.min_mean_cosine = 0.9999;
  request_.budget.min_worst_cosine = 0.9;
  PlanSearch search = NewSearch();
  const auto first = search.Next();
  ASSERT_THAT(first, IsOk());
  if (CountInt8(*first) == 0) GTEST_SKIP() << "a busy machine: FP16 is faster";
  search.Refuse(Measured(/*mean_cosine=*/1.0, /*worst_cosine=*/-1.0));
  const auto second = search.Next();
  ASSERT_THAT(second, IsOk());
  EXPECT_LE(CountInt8(*second), CountInt8(*first) / 2);
}

TEST_F(PlanSearchTest, GivesUpWhenNothingThatIsStoredHolds) {
  request_.budget.min_mean_cosine = 0.99;
  PlanSearch search = NewSearch();
  absl::Status status;
  for (int i = 0; i < 10 && status.ok(); ++i) {
    status = search.Next().status();
    if (status.ok()) search.Refuse(Measured(0.98, 0.98));
  }
  EXPECT_THAT(status,
              FailsWith(kFailed, "the best reaches a mean cosine of 0.98"));
}

TEST_F(PlanSearchTest, KeepsToASizeWithTheMostExactThatFits) {
  const auto tensors = MlpTensors();
  uint64_t values = 0;
  for (const SmallTensor& tensor : tensors) values += tensor.values.size();
  request_.budget.max_bytes = 2 * values;  // all of it in 16 bits
  const auto large = Search();
  ASSERT_THAT(large, IsOk());
  EXPECT_FALSE(model::IsInt8(SchemeOf(*large, "fc1")));
  request_.budget.max_bytes = static_cast<uint64_t>(1.5 * values);
  const auto small = Search();
  ASSERT_THAT(small, IsOk());
  EXPECT_LE(Chosen(*small).stored_bytes, 1.5 * values);
  EXPECT_TRUE(model::IsInt8(SchemeOf(*small, "fc1")) ||
              model::IsInt8(SchemeOf(*small, "fc2")));
  request_.budget.max_bytes = values / 2;
  EXPECT_THAT(Search(), FailsWith(kFailed, "the smallest takes"));
}

// Of a size that a refusal named, and of nothing else.
TEST_F(PlanSearchTest, TheSmallestPlanKeepsToItsOwnSize) {
  request_.overrides = {{"*", Scheme::kW8A8Dynamic}};
  request_.overrides[0].methods.bias_correction = true;
  uint64_t bytes = 0;
  for (const SmallTensor& tensor : MlpTensors()) {
    const uint64_t values = tensor.values.size();
    const bool is_weight = tensor.shape.size() == 2;
    // Codes and scales, or a bias in FP32.
    bytes += is_weight ? values + 4 * tensor.shape[0] : 4 * values;
  }
  request_.budget.max_bytes = bytes;
  EXPECT_THAT(Search(), IsOk());
  request_.budget.max_bytes = bytes - 1;
  EXPECT_THAT(Search(), FailsWith(kFailed, std::to_string(bytes)));
}

uint64_t BytesOf(const std::vector<bundle::CandidateReport>& candidates,
                 const std::string& name) {
  for (const auto& candidate : candidates) {
    if (candidate.name == name) return candidate.stored_bytes;
  }
  return 0;
}

// fc1 can divide what fc2 reads; nothing can divide the model's input.
TEST_F(PlanSearchTest, ASmoothingThatWillBeFoldedCostsNothing) {
  request_.budget.min_mean_cosine = 0.9;
  const auto result = Search();
  ASSERT_THAT(result, IsOk());
  const auto extra = [&](const char* layer) {
    const auto& candidates = result->candidates.at(layer);
    return BytesOf(candidates, "w8a8_dynamic, smoothed, gptq") -
           BytesOf(candidates, "w8a8_dynamic, gptq");
  };
  EXPECT_EQ(extra("fc1"), kMlpIn * sizeof(float));
  EXPECT_EQ(extra("fc2"), 0);
}

TEST_F(PlanSearchTest, WhatTheRequestNamesIsNotItsToChoose) {
  request_.budget.min_mean_cosine = 0.9;
  request_.exclude = {"fc1"};
  request_.overrides = {{"fc2", Scheme::kW8A8Static}};
  const auto result = Search();
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(SchemeOf(*result, "fc1"), Scheme::kFp16);
  EXPECT_THAT(result->plan.layers.at("fc1").reason, HasSubstr("excluded"));
  EXPECT_EQ(SchemeOf(*result, "fc2"), Scheme::kW8A8Static);
  EXPECT_EQ(result->candidates.at("fc2").size(), 1);
}

TEST_F(PlanSearchTest, AnOverridesFloatTypeIsThatOfItsLayer) {
  request_.budget.min_mean_cosine = 0.9;
  request_.overrides = {{"fc1", Scheme::kFp32}, {"fc2", Scheme::kBf16}};
  const auto result = Search();
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(SchemeOf(*result, "fc1"), Scheme::kFp32);
  EXPECT_EQ(SchemeOf(*result, "fc2"), Scheme::kBf16);
}

size_t CountTried(const SearchResult& result, const std::string& layer,
                  Scheme scheme) {
  const auto& candidates = result.candidates.at(layer);
  return std::count_if(candidates.begin(), candidates.end(),
                       [&](const auto& c) { return c.scheme == scheme; });
}

// Column 5 of the input is an outlier, and FP16 does not hold its weight.
TEST_F(PlanSearchTest, AWayThatCannotBeBuiltIsLeftOut) {
  std::vector<SmallTensor> tensors = MlpTensors();
  tensors[0].values[5] = 1e5F;
  ASSERT_EQ(tensors[0].name, "fc1.weight");
  Use(tensors, kMlpIn);
  request_.budget.max_relative_error = 0.9;
  const auto result = Search();
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(CountTried(*result, "fc1", Scheme::kLlmInt8), 0);
  EXPECT_GT(CountTried(*result, "fc1", Scheme::kW8A8Dynamic), 0);
  EXPECT_EQ(CountTried(*result, "fc1", Scheme::kBf16), 1);
  request_.overrides = {{"fc1", Scheme::kLlmInt8}};
  EXPECT_THAT(Search(), FailsWith(absl::StatusCode::kInvalidArgument,
                                  "too large for FP16"));
}

// Nothing can be learned from zeros, which is no reason not to find a plan.
TEST_F(PlanSearchTest, ALayerWhoseInputsAreZeroStaysFloat) {
  std::vector<SmallTensor> tensors = MlpTensors();
  ASSERT_EQ(tensors[1].name, "fc1.bias");
  for (float& value : tensors[0].values) value = 0.0F;
  for (float& value : tensors[1].values) value = -1.0F;
  Use(tensors, kMlpIn);
  request_.budget.min_mean_cosine = 0.9;
  const auto result = Search();
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(SchemeOf(*result, "fc2"), Scheme::kFp16);
}

// 'a.b.weight' is no part of layer 'a'.
TEST_F(PlanSearchTest, LayersMayBeNamedBelowOthers) {
  std::vector<SmallTensor> tensors = MlpTensors();
  for (SmallTensor& tensor : tensors) {
    tensor.name.replace(0, 3, tensor.name.starts_with("fc1") ? "a.b" : "a");
  }
  Use(tensors, kMlpIn,
      R"({"model_type": "mlp", "layers": ["a.b", "a"], "hidden_act": "relu"})");
  request_.overrides = {{"*", Scheme::kW8A8Dynamic}};
  request_.budget.max_relative_error = 0.9;
  const auto result = Search();
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(SchemeOf(*result, "a"), Scheme::kW8A8Dynamic);
  EXPECT_EQ(SchemeOf(*result, "a.b"), Scheme::kW8A8Dynamic);
}

TEST_F(PlanSearchTest, WarnsOfThePlanThatItChose) {
  request_.budget.min_mean_cosine = 0.9;
  request_.overrides = {{"fc1", Scheme::kLlmInt8}};
  request_.outlier_threshold = 1e-3;
  const auto outliers = Search();
  ASSERT_THAT(outliers, IsOk());
  EXPECT_THAT(outliers->plan.warnings,
              ElementsAre(HasSubstr("reach the outlier threshold")));
  request_.overrides = {{"*", Scheme::kFp32}};
  const auto floats = Search();
  ASSERT_THAT(floats, IsOk());
  EXPECT_THAT(floats->plan.warnings,
              ElementsAre(HasSubstr("no layer is quantized")));
}

TEST_F(PlanSearchTest, WarnsOfLinearsOfOneInputThatDiffer) {
  WriteCheckpoint(directory_.path(), BertTensors(), kBertConfig);
  opened_ = OpenFloat(directory_.path());
  calibration_ = NewCalibration("bert", {});
  std::vector<std::vector<int32_t>> sequences;
  for (int32_t i = 0; i < 40; ++i) {
    sequences.push_back({i % 30, (7 * i + 1) % 30, (11 * i + i / 30) % 30});
  }
  ASSERT_THAT(
      ObserveInputs(*opened_.model, Tokens(sequences), nullptr, calibration_),
      IsOk());
  request_.budget.max_relative_error = 0.9;
  request_.overrides = {{"*", Scheme::kW8A8Dynamic}, {"*.key", Scheme::kFp16}};
  const auto result = Search();
  ASSERT_THAT(result, IsOk());
  EXPECT_THAT(result->plan.warnings, ElementsAre(HasSubstr(".key'")));
}

TEST_F(PlanSearchTest, NeedsSamplesOfTheModelsInput) {
  request_.budget.min_mean_cosine = 0.9;
  calibration_ = NewCalibration("mlp", {});
  EXPECT_THAT(Search(), FailsWith(kFailed, "model inputs"));
}

// A mean of rows that plans were fitted to promises nothing of others.
TEST_F(PlanSearchTest, PromisesNoMeanOfTooFewSamples) {
  request_.budget.min_mean_cosine = 0.9;
  calibration_ = NewCalibration("mlp", {});
  ASSERT_THAT(
      ObserveInputs(*opened_.model, Features(RandomValues(20 * kMlpIn, 3), 20),
                    nullptr, calibration_),
      IsOk());
  EXPECT_THAT(Search(), FailsWith(kFailed, "this calibration has 0 of them"));
  HoldOut(calibration_);
  EXPECT_THAT(Search(), FailsWith(kFailed, "this calibration has 10 of them"));
  EXPECT_THAT(Search(), FailsWith(kFailed, "at least 64 different samples"));
  request_.budget = {.max_relative_error = 0.9};
  EXPECT_THAT(Search(), IsOk());
}

// All samples kept are held out of many, and the first ones tune.
TEST_F(PlanSearchTest, SaysWhichRowsThePlanKnew) {
  request_.budget.min_mean_cosine = 0.9;
  calibration_ = NewCalibration("mlp", {});
  ASSERT_THAT(ObserveInputs(*opened_.model,
                            Features(RandomValues(200 * kMlpIn, 3), 200),
                            nullptr, calibration_),
              IsOk());
  HoldOut(calibration_);
  const auto result = Search();
  ASSERT_THAT(result, IsOk());
  EXPECT_EQ(result->tuned_rows, 24);  // three eighths of 64
}

TEST_F(PlanSearchTest, NeedsABudget) {
  EXPECT_THAT(Search(),
              FailsWith(absl::StatusCode::kInvalidArgument, "budget"));
}

TEST_F(PlanSearchTest, StopsWhenCancelled) {
  request_.budget.min_mean_cosine = 0.9;
  cancelled_ = [] { return true; };
  EXPECT_THAT(Search(), FailsWith(absl::StatusCode::kCancelled, ""));
}

}  // namespace
}  // namespace octet::quantization
