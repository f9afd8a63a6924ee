#include "server/quantization/job/publish.h"

#include <algorithm>
#include <filesystem>
#include <new>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

namespace fs = std::filesystem;

using ::testing::Contains;
using ::testing::HasSubstr;

// Every path below `root`, hidden ones too.
std::vector<std::string> Listing(const fs::path& root) {
  std::vector<std::string> paths;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    paths.push_back(entry.path().lexically_relative(root));
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

// A store that holds the bundle "old" already.
class QuantizeIntoStore : public ::testing::Test {
 protected:
  QuantizeIntoStore() {
    WriteCheckpoint(checkpoint_.path(), MlpTensors(), kMlpConfig);
    WriteText(checkpoint_.path() / "tokenizer.json", "{}");
    const OpenedModel opened = OpenFloat(checkpoint_.path());
    EXPECT_THAT(
        ObserveInputs(*opened.model,
                      Features(RandomValues(30 * kMlpIn, /*seed=*/3), 30),
                      nullptr, calibration_),
        IsOk());
    EXPECT_THAT(QuantizeInto(store_, "old", Job()), IsOk());
    before_ = Listing(root_.path());
  }

  QuantizeJob Job() {
    QuantizeJob job;
    job.checkpoint = checkpoint_.path();
    job.calibration = &calibration_;
    job.max_shard_bytes = 1000;  // several files
    return job;
  }

  int Steps() {
    int steps = 0;
    QuantizeJob job = Job();
    job.on_progress = [&](const Progress&) { ++steps; };
    EXPECT_THAT(QuantizeInto(store_, "counted", std::move(job)), IsOk());
    EXPECT_THAT(store_.Remove("counted"), IsOk());
    return steps;
  }

  TemporaryDirectory checkpoint_;
  TemporaryDirectory root_;
  bundle::DirectoryStore store_ =
      *bundle::DirectoryStore::Open(root_.path(), "bundle");
  Calibration calibration_;
  std::vector<std::string> before_;
};

TEST_F(QuantizeIntoStore, ABundleIsPublishedWhole) {
  ASSERT_THAT(QuantizeInto(store_, "new", Job()), IsOk());
  const auto directory = store_.Find("new");
  ASSERT_THAT(directory, IsOk());
  const auto bundle = bundle::OpenBundle(*directory, bundle::Verify::kDigests);
  ASSERT_THAT(bundle, IsOk());
  EXPECT_THAT(bundle::LoadModel(*bundle), IsOk());
  EXPECT_THAT(Listing(*directory), Contains("model.safetensors.index.json"));
}

TEST_F(QuantizeIntoStore, CancelledAtAnyQuestionItLeavesNothing) {
  int asked = 0;
  QuantizeJob counting = Job();
  counting.cancelled = [&] {
    ++asked;
    return false;
  };
  ASSERT_THAT(QuantizeInto(store_, "counted", std::move(counting)), IsOk());
  ASSERT_THAT(store_.Remove("counted"), IsOk());
  ASSERT_GT(asked, 8);
  for (int allowed = 0; allowed < asked; ++allowed) {
    int questions = 0;
    QuantizeJob job = Job();
    job.cancelled = [&] { return questions++ >= allowed; };
    EXPECT_THAT(QuantizeInto(store_, "new", std::move(job)),
                FailsWith(absl::StatusCode::kCancelled, "cancelled"))
        << allowed;
    EXPECT_EQ(Listing(root_.path()), before_) << allowed;
  }
}

TEST_F(QuantizeIntoStore, OutOfMemoryAtAnyStepItLeavesNothing) {
  const int steps = Steps();
  ASSERT_GE(steps, 6);
  for (int allowed = 0; allowed < steps; ++allowed) {
    int step = 0;
    QuantizeJob job = Job();
    job.on_progress = [&](const Progress&) {
      if (step++ == allowed) throw std::bad_alloc();
    };
    EXPECT_THROW(QuantizeInto(store_, "new", std::move(job)).IgnoreError(),
                 std::bad_alloc);
    EXPECT_EQ(Listing(root_.path()), before_) << allowed;
  }
}

// A directory stands where a file is to be written, so that each stage fails
// in its turn: shards, companions, config, index, manifest.
TEST_F(QuantizeIntoStore, FailingAtAnyFileItLeavesNothing) {
  for (const char* file :
       {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
        "model.safetensors.index.json", "tokenizer.json", "config.json",
        "octet.json"}) {
    QuantizeJob job = Job();
    job.on_progress = [&](const Progress& progress) {
      if (progress.done > 0) return;
      const fs::path staged = root_.path() / ".staging" / "new";
      fs::create_directories(staged / file / "in the way");
    };
    EXPECT_FALSE(QuantizeInto(store_, "new", std::move(job)).ok()) << file;
    EXPECT_EQ(Listing(root_.path()), before_) << file;
  }
}

TEST_F(QuantizeIntoStore, TooManyShardsAreRefusedBeforeAnythingIsWritten) {
  std::vector<SmallTensor> tensors = MlpTensors();
  for (int i = 0; i < 1100; ++i) {
    tensors.push_back({"extra." + std::to_string(i), {1}, {1.0F}});
  }
  WriteCheckpoint(checkpoint_.path(), tensors, kMlpConfig);
  QuantizeJob job = Job();
  job.calibration = nullptr;
  job.max_shard_bytes = 1;
  EXPECT_THAT(QuantizeInto(store_, "new", std::move(job)),
              FailsWith(absl::StatusCode::kInvalidArgument, "max_shard_bytes"));
  EXPECT_EQ(Listing(root_.path()), before_);
}

TEST_F(QuantizeIntoStore, AModelTooLargeToMeasureIsQuantizedWithAWarning) {
  QuantizeJob job = Job();
  job.max_measure_bytes = 1000;
  ASSERT_THAT(QuantizeInto(store_, "new", std::move(job)), IsOk());
  const auto bundle =
      bundle::OpenBundle(*store_.Find("new"), bundle::Verify::kDigests);
  ASSERT_THAT(bundle, IsOk());
  EXPECT_EQ(bundle->manifest.report.model_rows, 0);
  EXPECT_GT(bundle->manifest.report.layers[0].weight.sqnr_db, 30.0);
  EXPECT_THAT(bundle->manifest.report.warnings,
              Contains(HasSubstr("--measure-memory-mib")));
}

TEST_F(QuantizeIntoStore, AModelTooLargeToSearchIsRefusedWithAWayOut) {
  QuantizeJob job = Job();
  job.max_measure_bytes = 1000;
  job.request.policy = Policy::kAuto;
  job.request.budget.min_mean_cosine = 0.99;
  EXPECT_THAT(
      QuantizeInto(store_, "new", std::move(job)),
      FailsWith(absl::StatusCode::kFailedPrecondition, "--measure-memory-mib"));
  EXPECT_EQ(Listing(root_.path()), before_);
}

}  // namespace
}  // namespace octet::quantization
