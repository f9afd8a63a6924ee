// Policy `auto` from checkpoint to bundle: the budget holds for what is stored.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/quantization/calibration/hold_out.h"
#include "server/quantization/job/quantizer.h"
#include "server/quantization/search/sample_split.h"
#include "server/quantization/storage/budget_report.h"
#include "tests/server/quantization/quantize_mlp.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

class QuantizeAuto : public QuantizeMlp {
 protected:
  QuantizeJob Job() {
    QuantizeJob job = QuantizeMlp::Job();
    if (calibration_.held_out == 0) HoldOut(calibration_);
    job.request.policy = Policy::kAuto;
    return job;
  }
};

const bundle::FrontierPoint& Chosen(const bundle::QuantizationReport& report) {
  return *std::find_if(report.frontier.begin(), report.frontier.end(),
                       [](const auto& point) { return point.chosen; });
}

TEST_F(QuantizeAuto, TheBudgetIsReportedAsTheBundleWasMeasured) {
  QuantizeJob job = Job();
  job.request.budget.min_mean_cosine = 0.999;
  job.request.budget.min_worst_cosine = 0.9;
  const auto manifest = Quantize(job);
  ASSERT_THAT(manifest, IsOk());
  const bundle::QuantizationReport& report = manifest->report;
  ASSERT_EQ(report.budgets.size(), 2);
  EXPECT_EQ(report.budgets[0].reached, report.mean_row_cosine);
  EXPECT_EQ(report.budgets[1].reached, report.worst_row_cosine);
  EXPECT_TRUE(HoldsAll(report.budgets));
  EXPECT_EQ(Chosen(report).mean_row_cosine, report.mean_row_cosine);
  EXPECT_EQ(Chosen(report).stored_bytes, report.linear_stored_bytes);
  for (const bundle::LayerReport& layer : report.layers) {
    for (const bundle::CandidateReport& candidate : layer.candidates) {
      if (!candidate.chosen) continue;
      EXPECT_EQ(candidate.stored_bytes, layer.stored_bytes) << layer.layer;
    }
  }
}

TEST_F(QuantizeAuto, ATensorThatDoesNotFitItsTypeIsWarnedOfOnce) {
  std::vector<SmallTensor> tensors = MlpTensors();
  tensors[3].values[0] = 1e5F;
  ASSERT_EQ(tensors[3].name, "fc2.bias");
  WriteCheckpoint(checkpoint_.path(), tensors, kMlpConfig);
  QuantizeJob job = Job();
  job.request.overrides = {{"*", model::Scheme::kW8A8Dynamic}};
  job.request.budget.max_relative_error = 0.9;
  const auto manifest = Quantize(job);
  ASSERT_THAT(manifest, IsOk());
  const auto& warnings = manifest->report.warnings;
  EXPECT_EQ(std::count_if(warnings.begin(), warnings.end(),
                          [](const std::string& warning) {
                            return warning.find("too large for F16") !=
                                   std::string::npos;
                          }),
            1);
}

// Layers so wide that INT8 is what is fastest.
constexpr size_t kIn = 128;
constexpr size_t kHalf = kIn / 2;
constexpr size_t kPairs = 256;
constexpr size_t kOut = 8;
constexpr size_t kSamples = 128;

// y = V relu(U x) - V relu((U + E) x), where E reads the first half of x: a
// sample whose first half is faint gets a faint difference of large values,
// which any INT8 in fc1 spoils.
std::vector<SmallTensor> DifferenceTensors() {
  std::vector<float> first = RandomValues(2 * kPairs * kIn, /*seed=*/1);
  for (size_t n = 0; n < kPairs; ++n) {
    const auto own = first.begin() + n * kIn;
    std::copy(own + kHalf, own + kIn, own + kPairs * kIn + kHalf);
  }
  std::vector<float> second = RandomValues(kOut * 2 * kPairs, /*seed=*/2);
  for (size_t n = 0; n < kOut; ++n) {
    float* own = second.data() + n * 2 * kPairs;
    for (size_t k = 0; k < kPairs; ++k) own[kPairs + k] = -own[k];
  }
  return {{"fc1.weight", {2 * kPairs, kIn}, std::move(first)},
          {"fc2.weight", {kOut, 2 * kPairs}, std::move(second)}};
}

Calibration WithAFaintSample(const model::Model& model, size_t place) {
  std::vector<float> values = RandomValues(kSamples * kIn, /*seed=*/3);
  for (size_t k = 0; k < kHalf; ++k) values[place * kIn + k] *= 0.005F;
  Calibration calibration = NewCalibration("mlp", {});
  EXPECT_THAT(ObserveInputs(model, Features(std::move(values), kSamples),
                            nullptr, calibration),
              IsOk());
  return calibration;
}

bool HoldsAFaintSample(const model::ModelInput& input) {
  for (size_t r = 0; r < input.feature_rows; ++r) {
    const float* row = input.features.data() + r * kIn;
    if (std::all_of(row, row + kHalf,
                    [](float x) { return std::abs(x) < 0.05F; })) {
      return true;
    }
  }
  return false;
}

// The search verifies plans on samples that it did not tune with; the bundle
// is measured on all that are held out. So a sample that only tunes is what a
// bundle fails on.
TEST_F(QuantizeAuto, ABundleThatDoesNotHoldIsReplacedByOneThatDoes) {
  WriteCheckpoint(checkpoint_.path(), DifferenceTensors(), kMlpConfig);
  const OpenedModel opened = OpenFloat(checkpoint_.path());
  for (size_t place = 0; place < kSamples; ++place) {
    calibration_ = WithAFaintSample(*opened.model, place);
    HoldOut(calibration_);
    if (HoldsAFaintSample(SplitSamples(calibration_).tuning)) {
      break;
    }
  }
  const SampleSplit samples = SplitSamples(calibration_);
  ASSERT_TRUE(HoldsAFaintSample(samples.tuning));
  ASSERT_FALSE(HoldsAFaintSample(samples.verification));

  std::vector<std::string> stages;
  QuantizeJob job = Job();
  job.on_progress = [&](const Progress& progress) {
    EXPECT_LE(progress.done, progress.total);
    stages.push_back(progress.stage);
  };
  job.request.budget.min_mean_cosine = 0.9;
  job.request.budget.min_worst_cosine = 0.97;
  const auto manifest = Quantize(job);
  ASSERT_THAT(manifest, IsOk());
  EXPECT_TRUE(HoldsAll(manifest->report.budgets));
  EXPECT_GT(manifest->report.verified_plans, 1);
  // Of two layers, for two bundles or more; the last one is what is there.
  EXPECT_GE(std::count(stages.begin(), stages.end(), "quantize"), 4);
  EXPECT_FALSE(model::IsInt8(manifest->report.layers[0].scheme));
  EXPECT_THAT(bundle::OpenBundle(output_.path(), bundle::Verify::kDigests),
              IsOk());
}

}  // namespace
}  // namespace octet::quantization
