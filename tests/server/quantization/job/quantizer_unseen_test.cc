// What a report says is what inputs show that calibration has not seen.

#include <cstddef>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/quantization/calibration/hold_out.h"
#include "server/quantization/job/quantizer.h"
#include "server/quantization/methods/error_measures.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr size_t kUnseenIn = 512;
constexpr size_t kUnseenHidden = 256;
constexpr size_t kUnseenOut = 32;
// Samples are few and noise differs; fitted to what it is measured on, GPTQ
// errs several times as much on other inputs.
constexpr double kUnseenFactor = 1.3;

// Inputs of more columns than there are samples: GPTQ can learn each by heart.
class QuantizeOfFewSamples : public ::testing::Test {
 protected:
  QuantizeOfFewSamples() {
    WriteCheckpoint(
        checkpoint_.path(),
        {{"fc1.weight",
          {kUnseenHidden, kUnseenIn},
          RandomValues(kUnseenHidden * kUnseenIn, 1, 0.05F)},
         {"fc1.bias", {kUnseenHidden}, RandomValues(kUnseenHidden, 2, 0.1F)},
         {"fc2.weight",
          {kUnseenOut, kUnseenHidden},
          RandomValues(kUnseenOut * kUnseenHidden, 3, 0.1F)},
         {"fc2.bias", {kUnseenOut}, RandomValues(kUnseenOut, 4, 0.1F)}},
        kMlpConfig);
    opened_ = OpenFloat(checkpoint_.path());
  }

  static model::ModelInput Batch(size_t rows, uint32_t seed) {
    return Features(RandomValues(rows * kUnseenIn, seed), rows);
  }

  void Calibrate(size_t samples, bool holds_out = true) {
    calibration_ = NewCalibration("mlp", {});
    ASSERT_THAT(
        ObserveInputs(*opened_.model, Batch(samples, 5), nullptr, calibration_),
        IsOk());
    if (holds_out) HoldOut(calibration_);
  }

  QuantizeJob Job() {
    QuantizeJob job;
    job.checkpoint = checkpoint_.path();
    job.output = output_.path();
    job.calibration = &calibration_;
    job.request.methods.rounding = Rounding::kGptq;
    job.request.methods.bias_correction = true;
    return job;
  }

  // Mean of 1 - cos on inputs of the same kind.
  double UnseenLoss() const {
    constexpr size_t kRows = 500;
    const auto bundle =
        bundle::OpenBundle(output_.path(), bundle::Verify::kSizes);
    EXPECT_THAT(bundle, IsOk());
    const auto quantized = bundle::LoadModel(*bundle);
    EXPECT_THAT(quantized, IsOk());
    const model::ModelInput batch = Batch(kRows, 99);
    const auto expected = opened_.model->Forward(batch, {});
    const auto actual = (*quantized)->Forward(batch, {});
    double loss = 0.0;
    for (size_t r = 0; r < kRows; ++r) {
      loss +=
          1.0 - Cosine({expected->values.data() + r * kUnseenOut, kUnseenOut},
                       {actual->values.data() + r * kUnseenOut, kUnseenOut});
    }
    return loss / kRows;
  }

  TemporaryDirectory checkpoint_;
  TemporaryDirectory output_;
  OpenedModel opened_;
  Calibration calibration_;
};

TEST_F(QuantizeOfFewSamples, UnseenInputsLoseWhatIsReported) {
  Calibrate(200);
  const auto manifest = Quantize(Job());
  ASSERT_THAT(manifest, IsOk());
  const bundle::QuantizationReport& report = manifest->report;
  EXPECT_EQ(report.model_rows, 64);
  EXPECT_EQ(report.tuned_rows, 0);
  EXPECT_THAT(report.warnings, Not(Contains(HasSubstr("were fitted"))));
  EXPECT_LT(UnseenLoss(), kUnseenFactor * (1.0 - report.mean_row_cosine));
}

// Why samples are held out.
TEST_F(QuantizeOfFewSamples, RowsThatWereFittedToLoseLessThanUnseenOnes) {
  Calibrate(200, /*holds_out=*/false);
  const auto manifest = Quantize(Job());
  ASSERT_THAT(manifest, IsOk());
  EXPECT_EQ(manifest->report.tuned_rows, manifest->report.model_rows);
  EXPECT_GT(UnseenLoss(),
            kUnseenFactor * (1.0 - manifest->report.mean_row_cosine));
}

TEST_F(QuantizeOfFewSamples, APromisedMeanHoldsOnUnseenInputs) {
  Calibrate(200);
  QuantizeJob job = Job();
  job.request.policy = Policy::kAuto;
  // INT8 alone: that FP16 is faster here says nothing.
  MethodsOverride methods;
  methods.rounding = Rounding::kGptq;
  methods.bias_correction = true;
  job.request.methods = {};
  job.request.overrides = {{"*", model::Scheme::kW8A8Dynamic, methods}};
  job.request.budget.min_mean_cosine = 0.99;
  const auto manifest = Quantize(job);
  ASSERT_THAT(manifest, IsOk());
  EXPECT_LT(UnseenLoss(),
            kUnseenFactor * (1.0 - manifest->report.mean_row_cosine));
  // The search's own measurement, before a bundle is written.
  job.request.budget.min_mean_cosine = 1.0 - UnseenLoss() / kUnseenFactor;
  EXPECT_THAT(Quantize(job), FailsWith(absl::StatusCode::kFailedPrecondition,
                                       "no plan keeps to the budget"));
}

TEST_F(QuantizeOfFewSamples, OfOneSampleTheReportSaysWhatItIsWorth) {
  Calibrate(1);
  const auto manifest = Quantize(Job());
  ASSERT_THAT(manifest, IsOk());
  EXPECT_EQ(manifest->report.tuned_rows, 1);
  EXPECT_THAT(manifest->report.warnings, Contains(HasSubstr("were fitted to")));
}

}  // namespace
}  // namespace octet::quantization
