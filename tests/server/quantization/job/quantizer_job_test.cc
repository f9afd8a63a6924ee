// What a job of quantizing takes along, refuses, tells and leaves behind.

#include <cmath>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/quantization/job/quantizer.h"
#include "tests/server/quantization/quantize_mlp.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

namespace fs = std::filesystem;

using model::Scheme;
using ::testing::Contains;
using ::testing::HasSubstr;

TEST_F(QuantizeMlp, CompanionFilesComeAlongAndOtherWeightsDoNot) {
  WriteText(checkpoint_.path() / "tokenizer.json", "{}");
  WriteText(checkpoint_.path() / "vocab.txt", "a\nb\n");
  WriteText(checkpoint_.path() / "1_Pooling/config.json", "{}");
  WriteText(checkpoint_.path() / "LICENSE", "as is");
  WriteText(checkpoint_.path() / "pytorch_model.bin", "weights");
  WriteText(checkpoint_.path() / ".gitattributes", "x");
  ASSERT_THAT(Quantize(Job()), IsOk());
  EXPECT_EQ(ReadText(output_.path() / "vocab.txt"), "a\nb\n");
  EXPECT_TRUE(fs::exists(output_.path() / "tokenizer.json"));
  EXPECT_TRUE(fs::exists(output_.path() / "1_Pooling/config.json"));
  EXPECT_TRUE(fs::exists(output_.path() / "LICENSE"));
  EXPECT_FALSE(fs::exists(output_.path() / "pytorch_model.bin"));
  EXPECT_FALSE(fs::exists(output_.path() / ".gitattributes"));
}

TEST_F(QuantizeMlp, DynamicNeedsNoCalibration) {
  QuantizeJob job = Job();
  job.calibration = nullptr;
  const auto manifest = Quantize(job);
  ASSERT_THAT(manifest, IsOk());
  EXPECT_EQ(manifest->report.model_rows, 0);
  EXPECT_THAT(manifest->report.warnings, Contains(HasSubstr("not measured")));
  job.request.scheme = Scheme::kW8A8Static;
  EXPECT_THAT(Quantize(job),
              FailsWith(absl::StatusCode::kFailedPrecondition, "fc1"));
}

TEST_F(QuantizeMlp, NonFiniteWeightsAreNamedAndNoManifestIsWritten) {
  std::vector<SmallTensor> tensors = MlpTensors();
  tensors[2].values[2 * kMlpHidden + 5] = std::nanf("");
  WriteCheckpoint(checkpoint_.path(), tensors, kMlpConfig);
  EXPECT_THAT(Quantize(Job()),
              FailsWith(absl::StatusCode::kInvalidArgument,
                        "tensor 'fc2.weight' holds NaN at index [2, 5]"));
  EXPECT_FALSE(fs::exists(output_.path() / "octet.json"));
}

TEST_F(QuantizeMlp, ABundleIsNotQuantizedAgain) {
  ASSERT_THAT(Quantize(Job()), IsOk());
  const TemporaryDirectory again;
  QuantizeJob job = Job();
  job.checkpoint = output_.path();
  job.output = again.path();
  EXPECT_THAT(Quantize(job),
              FailsWith(absl::StatusCode::kFailedPrecondition, "fc1.weight"));
}

TEST_F(QuantizeMlp, ProgressCountsUpThroughEveryStage) {
  QuantizeJob job = Job();
  std::vector<Progress> seen;
  job.on_progress = [&](const Progress& progress) { seen.push_back(progress); };
  ASSERT_THAT(Quantize(job), IsOk());
  std::vector<std::pair<std::string, std::string>> steps;
  for (size_t i = 0; i < seen.size(); ++i) {
    EXPECT_EQ(seen[i].done, static_cast<int>(i));
    EXPECT_EQ(seen[i].total, static_cast<int>(seen.size()));
    steps.emplace_back(seen[i].stage, seen[i].layer);
  }
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"plan", ""},       {"quantize", "fc1"}, {"quantize", "fc2"},
      {"measure", "fc1"}, {"measure", "fc2"},  {"write", ""}};
  EXPECT_EQ(steps, expected);
}

TEST_F(QuantizeMlp, CancellationStopsWithinALayer) {
  QuantizeJob job = Job();
  for (const int allowed : {0, 1, 2, 3, 4, 5}) {
    fs::remove_all(output_.path());
    fs::create_directory(output_.path());
    int steps = 0;
    job.on_progress = [&](const Progress&) { ++steps; };
    job.cancelled = [&] { return steps >= allowed; };
    EXPECT_THAT(Quantize(job),
                FailsWith(absl::StatusCode::kCancelled, "cancelled"));
    EXPECT_EQ(steps, allowed);
    EXPECT_FALSE(fs::exists(output_.path() / "octet.json")) << allowed;
  }
}

}  // namespace
}  // namespace octet::quantization
