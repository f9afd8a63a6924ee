#include "server/quantization/calibration/calibration.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/quantization/calibration/reservoir_values.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using absl::StatusCode::kInvalidArgument;

class MlpCalibration : public ::testing::Test {
 protected:
  MlpCalibration() {
    WriteCheckpoint(directory_.path(), MlpTensors(), kMlpConfig);
    opened_ = OpenFloat(directory_.path());
    calibration_.checkpoint = "mlp";
  }

  static model::ModelInput Batch(size_t rows, uint32_t seed) {
    return Features(RandomValues(rows * kMlpIn, seed), rows);
  }

  absl::Status Observe(const model::ModelInput& batch) {
    return ObserveInputs(*opened_.model, batch, nullptr, calibration_);
  }

  TemporaryDirectory directory_;
  OpenedModel opened_;
  Calibration calibration_;
};

// All but the last bits of sums.
void ExpectSame(const Calibration& a, const Calibration& b) {
  EXPECT_EQ(a.batches, b.batches);
  EXPECT_EQ(a.samples, b.samples);
  EXPECT_EQ(a.DuplicateSamples(), b.DuplicateSamples());
  EXPECT_EQ(a.NearDuplicateSamples(), b.NearDuplicateSamples());
  EXPECT_EQ(a.KeptInputs().features, b.KeptInputs().features);
  EXPECT_EQ(a.KeptInputs().token_ids, b.KeptInputs().token_ids);
  EXPECT_EQ(a.KeptInputs().lengths, b.KeptInputs().lengths);
  ASSERT_EQ(a.inputs.size(), b.inputs.size());
  for (const auto& [name, input] : a.inputs) {
    SCOPED_TRACE(name);
    ASSERT_TRUE(b.inputs.contains(name));
    const CalibratedInput& other = b.inputs.find(name)->second;
    EXPECT_EQ(input.layers, other.layers);
    EXPECT_EQ(input.named_rows, other.named_rows);
    EXPECT_EQ(input.rows.keys(), other.rows.keys());
    EXPECT_EQ(Values(input.rows), Values(other.rows));
    EXPECT_EQ(input.statistics.rows, other.statistics.rows);
    EXPECT_EQ(input.statistics.min, other.statistics.min);
    EXPECT_EQ(input.statistics.max, other.statistics.max);
    EXPECT_NEAR(input.statistics.mean(), other.statistics.mean(), 1e-12);
    EXPECT_NEAR(input.statistics.sigma(), other.statistics.sigma(), 1e-12);
    EXPECT_EQ(input.statistics.column_min, other.statistics.column_min);
    EXPECT_EQ(input.statistics.column_max, other.statistics.column_max);
    EXPECT_EQ(input.statistics.histogram, other.statistics.histogram);
  }
}

TEST_F(MlpCalibration, SeesTheInputOfEveryLinear) {
  const model::ModelInput batch = Batch(10, 1);
  ASSERT_THAT(Observe(batch), IsOk());
  EXPECT_EQ(calibration_.batches, 1);
  EXPECT_EQ(calibration_.samples, 10);
  ASSERT_EQ(calibration_.inputs.size(), 2);
  const LayerStatistics& first = calibration_.Find("fc1")->statistics;
  EXPECT_EQ(first.rows, 10);
  EXPECT_EQ(first.max,
            *std::max_element(batch.features.begin(), batch.features.end()));
  const LayerStatistics& second = calibration_.Find("fc2")->statistics;
  EXPECT_EQ(second.columns(), kMlpHidden);
  EXPECT_EQ(second.min, 0.0F);  // after a relu
  EXPECT_GT(second.max, 0.0F);
}

TEST_F(MlpCalibration, ABatchThatFailsChangesNothing) {
  ASSERT_THAT(Observe(Batch(4, 1)), IsOk());
  const Calibration before = calibration_;
  model::ModelInput bad = Batch(4, 2);
  bad.features[3] = std::nanf("");
  EXPECT_THAT(Observe(bad), FailsWith(kInvalidArgument, ""));
  EXPECT_THAT(Observe(Features({}, 0)), FailsWith(kInvalidArgument, ""));
  bad = Batch(4, 2);
  bad.features.pop_back();
  EXPECT_THAT(Observe(bad), FailsWith(kInvalidArgument, ""));
  ExpectSame(calibration_, before);
}

TEST_F(MlpCalibration, ABatchThatOverflowsInsideChangesNothing) {
  ASSERT_THAT(Observe(Batch(4, 1)), IsOk());
  const Calibration before = calibration_;
  model::ModelInput bad = Batch(2, 2);
  for (float& value : bad.features) value = std::copysign(3e38F, value);
  EXPECT_THAT(Observe(bad), FailsWith(kInvalidArgument, "fc2"));
  ExpectSame(calibration_, before);
}

TEST_F(MlpCalibration, DuplicatesAreCountedWithinAndAcrossBatches) {
  model::ModelInput batch = Batch(3, 1);
  std::copy_n(batch.features.begin(), kMlpIn,
              batch.features.begin() + 2 * kMlpIn);  // row 2 = row 0
  ASSERT_THAT(Observe(batch), IsOk());
  EXPECT_EQ(calibration_.DuplicateSamples(), 1);
  ASSERT_THAT(Observe(batch), IsOk());
  EXPECT_EQ(calibration_.DuplicateSamples(), 4);
  EXPECT_EQ(calibration_.samples, 6);
}

TEST_F(MlpCalibration, WhatIsKeptIsBoundedAndADrawOfAll) {
  calibration_ = NewCalibration("mlp", {.seed = 5, .rows = 20, .samples = 10});
  for (uint32_t batch = 0; batch < 8; ++batch) {
    ASSERT_THAT(Observe(Batch(25, batch)), IsOk());
  }
  const model::ModelInput kept = calibration_.KeptInputs();
  EXPECT_EQ(kept.feature_rows, 10);
  // Rows are the inputs of the first linear.
  const LayerSamples samples = calibration_.SamplesOf("fc1");
  ASSERT_EQ(samples.rows.rows, 20);
  for (size_t r = 0; r < 20; ++r) {
    bool found = false;
    for (uint32_t batch = 0; batch < 8; ++batch) {
      const std::vector<float> all = Batch(25, batch).features;
      for (size_t i = 0; i < 25; ++i) {
        found = found ||
                std::equal(samples.rows.row(r), samples.rows.row(r) + kMlpIn,
                           all.begin() + i * kMlpIn);
      }
    }
    EXPECT_TRUE(found) << r;
  }
  EXPECT_EQ(calibration_.SamplesOf("fc2").rows.rows, 20);
  EXPECT_EQ(calibration_.SamplesOf("fc9").rows.rows, 0);
}

TEST_F(MlpCalibration, AnotherSeedDrawsOthers) {
  const CalibrationOptions options{.seed = 1, .rows = 20, .samples = 10};
  Calibration a = NewCalibration("mlp", options);
  Calibration b = NewCalibration("mlp", {.seed = 2, .rows = 20, .samples = 10});
  Calibration again = NewCalibration("mlp", options);
  for (Calibration* calibration : {&a, &b, &again}) {
    ASSERT_THAT(
        ObserveInputs(*opened_.model, Batch(100, 1), nullptr, *calibration),
        IsOk());
  }
  EXPECT_EQ(a.KeptInputs().features, again.KeptInputs().features);
  EXPECT_NE(a.KeptInputs().features, b.KeptInputs().features);
  EXPECT_THAT(Merge(a, b), FailsWith(kInvalidArgument, "seed"));
}

TEST_F(MlpCalibration, SamplesTellColumnMoments) {
  ASSERT_THAT(Observe(Batch(50, 1)), IsOk());
  const LayerSamples samples = calibration_.SamplesOf("fc1");
  ASSERT_EQ(samples.column_mean.size(), kMlpIn);
  double sum = 0.0;
  double squares = 0.0;
  for (size_t r = 0; r < 50; ++r) {
    const double x = samples.rows.row(r)[3];
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(samples.column_mean[3], sum / 50, 1e-12);
  EXPECT_NEAR(samples.column_mean_square[3], squares / 50, 1e-12);
}

// Batches, some of them twice, given at random to calibrations that are merged
// in a random order.
TEST_F(MlpCalibration, MergingAnySplitIsOnePass) {
  const CalibrationOptions options{.seed = 0, .rows = 30, .samples = 12};
  for (uint32_t seed = 0; seed < 10; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    Calibration once = NewCalibration("mlp", options);
    std::vector<Calibration> parts(1 + random() % 4,
                                   NewCalibration("mlp", options));
    for (int batch = 0; batch < 8; ++batch) {
      const model::ModelInput input = Batch(1 + random() % 20, random() % 6);
      for (Calibration* to : {&once, &parts[random() % parts.size()]}) {
        ASSERT_THAT(ObserveInputs(*opened_.model, input, nullptr, *to), IsOk());
      }
    }
    std::shuffle(parts.begin(), parts.end(), random);
    Calibration merged = NewCalibration("mlp", options);
    for (const Calibration& part : parts) {
      ASSERT_THAT(Merge(part, merged), IsOk());
    }
    ExpectSame(merged, once);
  }
}

TEST_F(MlpCalibration, MergingWithItselfDoublesTheCounts) {
  ASSERT_THAT(Observe(Batch(10, 1)), IsOk());
  ASSERT_THAT(Merge(calibration_, calibration_), IsOk());
  EXPECT_EQ(calibration_.samples, 20);
  EXPECT_EQ(calibration_.DuplicateSamples(), 10);
}

TEST_F(MlpCalibration, MergingAnotherCheckpointOrWidthIsRefused) {
  ASSERT_THAT(Observe(Batch(4, 1)), IsOk());
  const Calibration before = calibration_;
  Calibration other;
  other.checkpoint = "another";
  EXPECT_THAT(Merge(other, calibration_),
              FailsWith(kInvalidArgument, "'another'"));
  other.checkpoint = "mlp";
  CalibratedInput input;
  input.layers = {"fc2"};
  input.statistics = LayerStatistics(kMlpHidden + 1);
  other.inputs.emplace("fc2", input);
  EXPECT_THAT(Merge(other, calibration_), FailsWith(kInvalidArgument, "fc2"));
  input.statistics = LayerStatistics(kMlpHidden);
  input.layers = {"fc2", "fc3"};
  other.inputs.find("fc2")->second = input;
  EXPECT_THAT(Merge(other, calibration_),
              FailsWith(kInvalidArgument, "shares"));
  ExpectSame(calibration_, before);
}

TEST_F(MlpCalibration, ActivationsOfANamedLayer) {
  const std::vector<float> rows = RandomValues(3 * kMlpHidden, 7);
  ASSERT_THAT(ObserveActivations(opened_.model->graph(), "fc2",
                                 {rows.data(), 3, kMlpHidden}, calibration_),
              IsOk());
  EXPECT_EQ(calibration_.samples, 3);
  const CalibratedInput* input = calibration_.Find("fc2");
  ASSERT_NE(input, nullptr);
  EXPECT_EQ(input->statistics.rows, 3);
  EXPECT_EQ(input->named_rows, 3);
  // All rows are kept, in the order of their keys.
  std::vector<float> kept = Values(input->rows);
  std::vector<float> expected = rows;
  std::sort(kept.begin(), kept.end());
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(kept, expected);
  EXPECT_TRUE(calibration_.KeptInputs().lengths.empty());
}

TEST_F(MlpCalibration, BadActivationsAreRefusedWhole) {
  const model::Graph& graph = opened_.model->graph();
  std::vector<float> rows = RandomValues(3 * kMlpHidden, 7);
  EXPECT_THAT(ObserveActivations(graph, "fc9", {rows.data(), 3, kMlpHidden},
                                 calibration_),
              FailsWith(absl::StatusCode::kNotFound, "fc9"));
  EXPECT_THAT(ObserveActivations(graph, "fc1", {rows.data(), 3, kMlpHidden},
                                 calibration_),
              FailsWith(kInvalidArgument, "24 inputs"));
  EXPECT_THAT(ObserveActivations(graph, "fc2", {rows.data(), 0, kMlpHidden},
                                 calibration_),
              FailsWith(kInvalidArgument, "no rows"));
  rows[2 * kMlpHidden + 5] = -INFINITY;
  EXPECT_THAT(ObserveActivations(graph, "fc2", {rows.data(), 3, kMlpHidden},
                                 calibration_),
              FailsWith(kInvalidArgument, "[2, 5]"));
  EXPECT_EQ(calibration_.samples, 0);
  EXPECT_THAT(calibration_.inputs, IsEmpty());
}

TEST(Calibration, TokensAreSeenByEveryLinearOfABert) {
  const TemporaryDirectory directory;
  WriteCheckpoint(directory.path(), BertTensors(), kBertConfig);
  const OpenedModel opened = OpenFloat(directory.path());
  Calibration calibration;
  const model::ModelInput batch = Tokens({{1, 2, 3}, {4, 5}, {1, 2, 3}});
  ASSERT_THAT(ObserveInputs(*opened.model, batch, nullptr, calibration),
              IsOk());
  EXPECT_EQ(calibration.samples, 3);
  EXPECT_EQ(calibration.DuplicateSamples(), 1);
  EXPECT_EQ(calibration.ByLayer().size(), 6);
  for (const auto& [layer, statistics] : calibration.ByLayer()) {
    EXPECT_EQ(statistics->rows, 8) << layer;
  }
  // The repeated sequence is kept once.
  std::vector<int32_t> lengths = calibration.KeptInputs().lengths;
  std::sort(lengths.begin(), lengths.end());
  EXPECT_THAT(lengths, ElementsAre(2, 3));

  const Calibration before = calibration;
  EXPECT_THAT(
      ObserveInputs(*opened.model, Tokens({{1}, {30}}), nullptr, calibration),
      FailsWith(kInvalidArgument, "30"));
  ExpectSame(calibration, before);
}

TEST(Calibration, LayersOfOneInputShareStatisticsAndRows) {
  const TemporaryDirectory directory;
  WriteCheckpoint(directory.path(), BertTensors(), kBertConfig);
  const OpenedModel opened = OpenFloat(directory.path());
  Calibration calibration;
  ASSERT_THAT(ObserveInputs(*opened.model, Tokens({{1, 2, 3}, {4, 5}}), nullptr,
                            calibration),
              IsOk());
  EXPECT_EQ(calibration.inputs.size(), 4);  // qkv, out, up, down
  const auto linears = opened.model->graph().Linears();
  const CalibratedInput* query = calibration.Find(linears[0]->layer);
  ASSERT_NE(query, nullptr);
  EXPECT_EQ(query->layers.size(), 3);
  EXPECT_EQ(calibration.Find(linears[1]->layer), query);
  EXPECT_EQ(calibration.Find(linears[2]->layer), query);
  EXPECT_NE(calibration.Find(linears[3]->layer), query);

  // Activations of one count for the others.
  const std::vector<float> rows = RandomValues(2 * 16, 1);
  ASSERT_THAT(ObserveActivations(opened.model->graph(), linears[1]->layer,
                                 {rows.data(), 2, 16}, calibration),
              IsOk());
  EXPECT_EQ(calibration.Find(linears[0]->layer)->statistics.rows, 7);
}

// Rows are those of the same tokens, whichever batch brought them.
TEST(Calibration, KeptRowsDoNotDependOnTheBatch) {
  const TemporaryDirectory directory;
  WriteCheckpoint(directory.path(), BertTensors(), kBertConfig);
  const OpenedModel opened = OpenFloat(directory.path());
  const std::vector<std::vector<int32_t>> texts = {
      {1, 2, 3}, {4, 5}, {6}, {7, 8, 9, 10}, {11, 12}};
  const CalibrationOptions options{.seed = 3, .rows = 6, .samples = 2};
  Calibration together = NewCalibration("bert", options);
  ASSERT_THAT(ObserveInputs(*opened.model, Tokens(texts), nullptr, together),
              IsOk());
  Calibration apart = NewCalibration("bert", options);
  for (auto text = texts.rbegin(); text != texts.rend(); ++text) {
    ASSERT_THAT(ObserveInputs(*opened.model, Tokens({*text}), nullptr, apart),
                IsOk());
  }
  apart.batches = together.batches;
  ExpectSame(apart, together);
}

TEST(Calibration, MemoryDoesNotGrowWithBatches) {
  const TemporaryDirectory directory;
  WriteCheckpoint(directory.path(), MlpTensors(), kMlpConfig);
  const OpenedModel opened = OpenFloat(directory.path());
  Calibration calibration =
      NewCalibration("mlp", {.seed = 0, .rows = 16, .samples = 8});
  const auto file = directory.path() / "c";
  std::vector<uintmax_t> sizes;
  for (uint32_t batch = 0; batch < 60; ++batch) {
    const model::ModelInput input =
        Features(RandomValues(100 * kMlpIn, batch, 1.0F + batch), 100);
    ASSERT_THAT(ObserveInputs(*opened.model, input, nullptr, calibration),
                IsOk());
    if (batch < 50) continue;  // until what is remembered is full
    ASSERT_THAT(Save(calibration, file), IsOk());
    sizes.push_back(std::filesystem::file_size(file));
  }
  // But for the number of bins, which stays below its limit, and digits.
  const auto [least, most] = std::minmax_element(sizes.begin(), sizes.end());
  EXPECT_LE(*most - *least, 2 * Histogram::kMaxBins * sizeof(uint64_t) + 64);
}

TEST(CalibrationOptions, BeyondTheirLimitsAreRefused) {
  EXPECT_THAT(CheckOptions({}), IsOk());
  EXPECT_THAT(CheckOptions({.seed = 0, .rows = kMaxKeptRows + 1, .samples = 1}),
              FailsWith(kInvalidArgument, "kept_rows"));
  EXPECT_THAT(
      CheckOptions({.seed = 0, .rows = 1, .samples = kMaxKeptSamples + 1}),
      FailsWith(kInvalidArgument, "kept_samples"));
}

}  // namespace
}  // namespace octet::quantization
