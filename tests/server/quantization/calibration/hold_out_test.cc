#include "server/quantization/calibration/hold_out.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "server/quantization/calibration/sample_keys.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

class HoldOutTest : public ::testing::Test {
 protected:
  HoldOutTest() {
    WriteCheckpoint(directory_.path(), MlpTensors(), kMlpConfig);
    opened_ = OpenFloat(directory_.path());
  }

  void Observe(size_t rows) {
    ASSERT_THAT(
        ObserveInputs(*opened_.model,
                      Features(RandomValues(rows * kMlpIn, /*seed=*/5), rows),
                      nullptr, calibration_),
        IsOk());
  }

  // Rows of fc2's input that are of samples which are measured.
  size_t KnownRows() const {
    const auto samples = calibration_.kept.samples();
    const auto& rows = calibration_.Find("fc2")->rows;
    size_t known = 0;
    for (size_t i = calibration_.FirstMeasured(); i < samples.size(); ++i) {
      known += std::count(rows.keys().begin(), rows.keys().end(),
                          RowKey(samples[i].key, 0));
    }
    return known;
  }

  TemporaryDirectory directory_;
  OpenedModel opened_;
  Calibration calibration_;
};

TEST_F(HoldOutTest, AllSamplesWhereManyMoreWereSeen) {
  Observe(300);
  const size_t kept = CalibrationOptions().samples;
  EXPECT_EQ(KnownRows(), kept);
  const RowReservoir before = calibration_.Find("fc2")->rows;
  HoldOut(calibration_);
  EXPECT_EQ(calibration_.held_out, kept);
  EXPECT_EQ(KnownRows(), 0);
  EXPECT_EQ(calibration_.MeasuredInputs().feature_rows, kept);
  const RowReservoir& after = calibration_.Find("fc2")->rows;
  ASSERT_EQ(after.keys().size(), 300 - kept);
  EXPECT_EQ(calibration_.SamplesOf("fc1").rows.rows, 300 - kept);
  // What is left is what it was.
  size_t row = 0;
  for (size_t i = 0; i < after.keys().size(); ++i) {
    while (before.keys()[row] != after.keys()[i]) ++row;
    EXPECT_TRUE(std::equal(after.rows().row(i),
                           after.rows().row(i) + kMlpHidden,
                           before.rows().row(row)));
  }
}

TEST_F(HoldOutTest, NoMoreThanHalfOfTheRows) {
  Observe(21);
  HoldOut(calibration_);
  EXPECT_EQ(calibration_.held_out, 10);
  EXPECT_EQ(KnownRows(), 0);
  EXPECT_EQ(calibration_.SamplesOf("fc1").rows.rows, 11);
  EXPECT_EQ(calibration_.MeasuredInputs().feature_rows, 10);
}

TEST_F(HoldOutTest, NothingOfASingleSample) {
  Observe(1);
  HoldOut(calibration_);
  EXPECT_EQ(calibration_.held_out, 0);
  EXPECT_EQ(calibration_.SamplesOf("fc1").rows.rows, 1);
  EXPECT_EQ(calibration_.MeasuredInputs().feature_rows, 1);
}

TEST_F(HoldOutTest, EveryTokenOfASequence) {
  WriteCheckpoint(directory_.path(), BertTensors(), kBertConfig);
  opened_ = OpenFloat(directory_.path());
  ASSERT_THAT(
      ObserveInputs(*opened_.model,
                    Tokens({{1, 2, 3}, {4, 5, 6}, {6, 7, 8}, {9, 10, 11}}),
                    nullptr, calibration_),
      IsOk());
  HoldOut(calibration_);
  EXPECT_EQ(calibration_.held_out, 2);
  for (const auto& [name, input] : calibration_.inputs) {
    EXPECT_EQ(input.rows.rows().rows, 6) << name;
  }
}

}  // namespace
}  // namespace octet::quantization
