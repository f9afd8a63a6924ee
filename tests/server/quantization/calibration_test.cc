#include "server/quantization/calibration.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

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

void ExpectSame(const Calibration& a, const Calibration& b) {
  EXPECT_EQ(a.batches, b.batches);
  EXPECT_EQ(a.samples, b.samples);
  EXPECT_EQ(a.duplicate_samples, b.duplicate_samples);
  EXPECT_EQ(a.sample_hashes, b.sample_hashes);
  EXPECT_EQ(a.kept_inputs.features, b.kept_inputs.features);
  EXPECT_EQ(a.kept_inputs.token_ids, b.kept_inputs.token_ids);
  EXPECT_EQ(a.kept_inputs.lengths, b.kept_inputs.lengths);
  EXPECT_EQ(a.kept_rows, b.kept_rows);
  ASSERT_EQ(a.layers.size(), b.layers.size());
  for (const auto& [layer, statistics] : a.layers) {
    SCOPED_TRACE(layer);
    ASSERT_TRUE(b.layers.contains(layer));
    const LayerStatistics& other = b.layers.find(layer)->second;
    EXPECT_EQ(statistics.rows, other.rows);
    EXPECT_EQ(statistics.min, other.min);
    EXPECT_EQ(statistics.max, other.max);
    EXPECT_NEAR(statistics.mean(), other.mean(), 1e-12);
    EXPECT_NEAR(statistics.sigma(), other.sigma(), 1e-12);
    EXPECT_EQ(statistics.column_absmax, other.column_absmax);
    EXPECT_EQ(statistics.histogram, other.histogram);
  }
}

TEST_F(MlpCalibration, SeesTheInputOfEveryLinear) {
  const model::ModelInput batch = Batch(10, 1);
  ASSERT_THAT(Observe(batch), IsOk());
  EXPECT_EQ(calibration_.batches, 1);
  EXPECT_EQ(calibration_.samples, 10);
  ASSERT_EQ(calibration_.layers.size(), 2);
  const LayerStatistics& first = calibration_.layers.find("fc1")->second;
  EXPECT_EQ(first.rows, 10);
  EXPECT_EQ(first.max,
            *std::max_element(batch.features.begin(), batch.features.end()));
  const LayerStatistics& second = calibration_.layers.find("fc2")->second;
  EXPECT_EQ(second.columns(), kMlpHidden);
  EXPECT_EQ(second.min, 0.0F);  // after a relu
  EXPECT_GT(second.max, 0.0F);
}

TEST_F(MlpCalibration, ABatchThatFailsChangesNothing) {
  ASSERT_THAT(Observe(Batch(4, 1)), IsOk());
  const Calibration before = calibration_;
  model::ModelInput bad = Batch(4, 2);
  bad.features[3] = std::nanf("");
  EXPECT_THAT(Observe(bad), FailsWith(kInvalid, ""));
  EXPECT_THAT(Observe(Features({}, 0)), FailsWith(kInvalid, ""));
  bad = Batch(4, 2);
  bad.features.pop_back();
  EXPECT_THAT(Observe(bad), FailsWith(kInvalid, ""));
  ExpectSame(calibration_, before);
}

TEST_F(MlpCalibration, ABatchThatOverflowsInsideChangesNothing) {
  ASSERT_THAT(Observe(Batch(4, 1)), IsOk());
  const Calibration before = calibration_;
  model::ModelInput bad = Batch(2, 2);
  for (float& value : bad.features) value = std::copysign(3e38F, value);
  EXPECT_THAT(Observe(bad), FailsWith(kInvalid, "fc2"));
  ExpectSame(calibration_, before);
}

TEST_F(MlpCalibration, DuplicatesAreCountedWithinAndAcrossBatches) {
  model::ModelInput batch = Batch(3, 1);
  std::copy_n(batch.features.begin(), kMlpIn,
              batch.features.begin() + 2 * kMlpIn);  // row 2 = row 0
  ASSERT_THAT(Observe(batch), IsOk());
  EXPECT_EQ(calibration_.duplicate_samples, 1);
  ASSERT_THAT(Observe(batch), IsOk());
  EXPECT_EQ(calibration_.duplicate_samples, 4);
  EXPECT_EQ(calibration_.samples, 6);
}

TEST_F(MlpCalibration, KeptSamplesAreBoundedAndTheFirst) {
  const model::ModelInput first = Batch(kKeptSamples - 1, 1);
  ASSERT_THAT(Observe(first), IsOk());
  ASSERT_THAT(Observe(Batch(50, 2)), IsOk());
  const model::ModelInput& kept = calibration_.kept_inputs;
  EXPECT_EQ(kept.feature_rows, kKeptSamples);
  ASSERT_EQ(kept.features.size(), kKeptSamples * kMlpIn);
  EXPECT_TRUE(std::equal(first.features.begin(), first.features.end(),
                         kept.features.begin()));
}

TEST_F(MlpCalibration, MergingIsObservingAll) {
  Calibration other;
  other.checkpoint = "mlp";
  ASSERT_THAT(Observe(Batch(40, 1)), IsOk());
  ASSERT_THAT(ObserveInputs(*opened_.model, Batch(40, 2), nullptr, other),
              IsOk());
  ASSERT_THAT(ObserveInputs(*opened_.model, Batch(5, 1), nullptr, other),
              IsOk());
  ASSERT_THAT(Merge(other, calibration_), IsOk());

  Calibration all;
  all.checkpoint = "mlp";
  for (const auto& [rows, seed] : {std::pair{40, 1}, {40, 2}, {5, 1}}) {
    ASSERT_THAT(ObserveInputs(*opened_.model, Batch(rows, seed), nullptr, all),
                IsOk());
  }
  EXPECT_EQ(all.duplicate_samples, 5);
  ExpectSame(calibration_, all);
}

TEST_F(MlpCalibration, MergingWithItselfDoublesTheCounts) {
  ASSERT_THAT(Observe(Batch(10, 1)), IsOk());
  ASSERT_THAT(Merge(calibration_, calibration_), IsOk());
  EXPECT_EQ(calibration_.samples, 20);
  EXPECT_EQ(calibration_.duplicate_samples, 10);
}

TEST_F(MlpCalibration, MergingAnotherCheckpointOrWidthIsRefused) {
  ASSERT_THAT(Observe(Batch(4, 1)), IsOk());
  const Calibration before = calibration_;
  Calibration other;
  other.checkpoint = "another";
  EXPECT_THAT(Merge(other, calibration_), FailsWith(kInvalid, "'another'"));
  other.checkpoint = "mlp";
  other.layers.emplace("fc2", LayerStatistics(kMlpHidden + 1));
  EXPECT_THAT(Merge(other, calibration_), FailsWith(kInvalid, "fc2"));
  ExpectSame(calibration_, before);
}

TEST_F(MlpCalibration, ActivationsOfANamedLayer) {
  const std::vector<float> rows = RandomValues(3 * kMlpHidden, 7);
  ASSERT_THAT(ObserveActivations(opened_.model->graph(), "fc2",
                                 {rows.data(), 3, kMlpHidden}, calibration_),
              IsOk());
  EXPECT_EQ(calibration_.samples, 3);
  EXPECT_EQ(calibration_.layers.find("fc2")->second.rows, 3);
  EXPECT_EQ(calibration_.kept_rows["fc2"], rows);
}

TEST_F(MlpCalibration, BadActivationsAreRefusedWhole) {
  const model::Graph& graph = opened_.model->graph();
  std::vector<float> rows = RandomValues(3 * kMlpHidden, 7);
  EXPECT_THAT(ObserveActivations(graph, "fc9", {rows.data(), 3, kMlpHidden},
                                 calibration_),
              FailsWith(absl::StatusCode::kNotFound, "fc9"));
  EXPECT_THAT(ObserveActivations(graph, "fc1", {rows.data(), 3, kMlpHidden},
                                 calibration_),
              FailsWith(kInvalid, "24 inputs"));
  EXPECT_THAT(ObserveActivations(graph, "fc2", {rows.data(), 0, kMlpHidden},
                                 calibration_),
              FailsWith(kInvalid, "no rows"));
  rows[2 * kMlpHidden + 5] = -INFINITY;
  EXPECT_THAT(ObserveActivations(graph, "fc2", {rows.data(), 3, kMlpHidden},
                                 calibration_),
              FailsWith(kInvalid, "[2, 5]"));
  EXPECT_EQ(calibration_.samples, 0);
  EXPECT_THAT(calibration_.layers, IsEmpty());
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
  EXPECT_EQ(calibration.duplicate_samples, 1);
  EXPECT_EQ(calibration.layers.size(), 6);
  for (const auto& [layer, statistics] : calibration.layers) {
    EXPECT_EQ(statistics.rows, 8) << layer;
  }
  EXPECT_EQ(calibration.kept_inputs.token_ids, batch.token_ids);
  EXPECT_THAT(calibration.kept_inputs.lengths, ElementsAre(3, 2, 3));

  const Calibration before = calibration;
  EXPECT_THAT(
      ObserveInputs(*opened.model, Tokens({{1}, {30}}), nullptr, calibration),
      FailsWith(kInvalid, "30"));
  ExpectSame(calibration, before);
}

TEST(Calibration, WarnsOfFewManyAndRepeatedSamples) {
  Calibration calibration;
  calibration.samples = 99;
  EXPECT_THAT(calibration.Warnings(), ElementsAre(HasSubstr("few")));
  calibration.samples = 100;
  EXPECT_THAT(calibration.Warnings(), IsEmpty());
  calibration.samples = 1000;
  calibration.duplicate_samples = 100;
  EXPECT_THAT(calibration.Warnings(), IsEmpty());
  calibration.duplicate_samples = 101;
  EXPECT_THAT(calibration.Warnings(), ElementsAre(HasSubstr("repeat")));
  calibration.samples = 1011;
  EXPECT_THAT(calibration.Warnings(), ElementsAre(HasSubstr("many")));
}

}  // namespace
}  // namespace octet::quantization
