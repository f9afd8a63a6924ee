#include <filesystem>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/quantization/calibration.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

namespace fs = std::filesystem;

constexpr auto kDamaged = absl::StatusCode::kDataLoss;

// Something in every field.
Calibration Full() {
  Calibration calibration;
  calibration.checkpoint = "some-checkpoint";
  calibration.batches = 3;
  calibration.samples = uint64_t{1} << 40;
  calibration.duplicate_samples = 7;
  calibration.sample_hashes = {1, ~uint64_t{0}, 42};
  for (const char* layer : {"a.b/c", "fc \"quoted\""}) {
    LayerStatistics statistics(5);
    const std::vector<float> rows = RandomValues(20, 3);
    statistics.Observe({rows.data(), 4, 5});
    calibration.kept_rows[layer] = rows;
    calibration.layers.emplace(layer, std::move(statistics));
  }
  calibration.kept_inputs = Tokens({{5, 6}, {7}});
  calibration.kept_inputs.features = {1.5F, 2.5F, 3.5F, 4.5F};
  calibration.kept_inputs.feature_rows = 2;
  return calibration;
}

TEST(CalibrationFile, EverythingComesBack) {
  const TemporaryDirectory directory;
  const fs::path file = directory.path() / "c.calibration";
  const Calibration saved = Full();
  ASSERT_THAT(Save(saved, file), IsOk());
  const auto loaded = LoadCalibration(file);
  ASSERT_THAT(loaded, IsOk());
  EXPECT_EQ(loaded->checkpoint, saved.checkpoint);
  EXPECT_EQ(loaded->batches, saved.batches);
  EXPECT_EQ(loaded->samples, saved.samples);
  EXPECT_EQ(loaded->duplicate_samples, saved.duplicate_samples);
  EXPECT_EQ(loaded->sample_hashes, saved.sample_hashes);
  EXPECT_EQ(loaded->kept_inputs.token_ids, saved.kept_inputs.token_ids);
  EXPECT_EQ(loaded->kept_inputs.lengths, saved.kept_inputs.lengths);
  EXPECT_EQ(loaded->kept_inputs.features, saved.kept_inputs.features);
  EXPECT_EQ(loaded->kept_inputs.feature_rows, 2);
  EXPECT_EQ(loaded->kept_rows, saved.kept_rows);
  ASSERT_EQ(loaded->layers.size(), saved.layers.size());
  for (const auto& [layer, statistics] : saved.layers) {
    const LayerStatistics& other = loaded->layers.find(layer)->second;
    EXPECT_EQ(other.rows, statistics.rows);
    EXPECT_EQ(other.min, statistics.min);
    EXPECT_EQ(other.max, statistics.max);
    EXPECT_EQ(other.sum, statistics.sum);
    EXPECT_EQ(other.sum_squares, statistics.sum_squares);
    EXPECT_EQ(other.column_absmax, statistics.column_absmax);
    EXPECT_EQ(other.histogram, statistics.histogram);
  }
}

TEST(CalibrationFile, AnEmptyCalibrationComesBack) {
  const TemporaryDirectory directory;
  const fs::path file = directory.path() / "c";
  Calibration empty;
  empty.checkpoint = "x";
  ASSERT_THAT(Save(empty, file), IsOk());
  const auto loaded = LoadCalibration(file);
  ASSERT_THAT(loaded, IsOk());
  EXPECT_EQ(loaded->checkpoint, "x");
  EXPECT_TRUE(loaded->layers.empty());
}

TEST(CalibrationFile, ReplacesTheOldFileAndLeavesNothingElse) {
  const TemporaryDirectory directory;
  const fs::path file = directory.path() / "c";
  Calibration calibration = Full();
  ASSERT_THAT(Save(calibration, file), IsOk());
  calibration.batches = 99;
  ASSERT_THAT(Save(calibration, file), IsOk());
  EXPECT_EQ(LoadCalibration(file)->batches, 99);
  const auto entries = fs::directory_iterator(directory.path());
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 1);
}

TEST(CalibrationFile, MissingIsNotFound) {
  const TemporaryDirectory directory;
  EXPECT_THAT(LoadCalibration(directory.path() / "c"),
              FailsWith(absl::StatusCode::kNotFound, "'c'"));
}

TEST(CalibrationFile, CutAnywhereIsDataLoss) {
  const TemporaryDirectory directory;
  const fs::path file = directory.path() / "c";
  ASSERT_THAT(Save(Full(), file), IsOk());
  const std::string bytes = ReadText(file);
  for (size_t size = 0; size < bytes.size(); size += 13) {
    WriteText(file, std::string_view(bytes).substr(0, size));
    EXPECT_THAT(LoadCalibration(file), FailsWith(kDamaged, "'c'")) << size;
  }
}

// Any single byte may change: the answer is a calibration or DATA_LOSS.
TEST(CalibrationFile, AnyChangedByteIsSurvived) {
  const TemporaryDirectory directory;
  const fs::path file = directory.path() / "c";
  ASSERT_THAT(Save(Full(), file), IsOk());
  const std::string bytes = ReadText(file);
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string changed = bytes;
    changed[i] = static_cast<char>(~changed[i]);
    WriteText(file, changed);
    const auto loaded = LoadCalibration(file);
    EXPECT_TRUE(loaded.ok() || loaded.status().code() == kDamaged)
        << "byte " << i << ": " << loaded.status();
  }
}

TEST(CalibrationFile, AnotherSafetensorsFileIsDataLoss) {
  const TemporaryDirectory directory;
  WriteCheckpoint(directory.path(), MlpTensors(), "");
  EXPECT_THAT(LoadCalibration(directory.path() / "model.safetensors"),
              FailsWith(kDamaged, "format"));
}

struct Lie {
  const char* what;
  void (*tell)(Calibration&);
};

TEST(CalibrationFile, StatisticsThatCannotBeAreDataLoss) {
  const Lie lies[] = {
      {"negative absmax",
       [](Calibration& c) {
         c.layers.begin()->second.column_absmax[0] = -1.0F;
       }},
      {"range without zero",
       [](Calibration& c) { c.layers.begin()->second.min = 1.0F; }},
      {"NaN maximum",
       [](Calibration& c) { c.layers.begin()->second.max = NAN; }},
      {"infinite sum",
       [](Calibration& c) { c.layers.begin()->second.sum = INFINITY; }},
      {"negative squares",
       [](Calibration& c) { c.layers.begin()->second.sum_squares = -1.0; }},
      {"an empty sequence",
       [](Calibration& c) { c.kept_inputs.lengths.push_back(0); }},
      {"more tokens than there are",
       [](Calibration& c) { c.kept_inputs.lengths.push_back(9); }},
      {"too many sequences",
       [](Calibration& c) {
         c.kept_inputs.lengths.assign(kKeptSamples + 1, 1);
         c.kept_inputs.token_ids.assign(kKeptSamples + 1, 1);
       }},
      {"NaN among kept rows",
       [](Calibration& c) { c.kept_rows.begin()->second[1] = NAN; }},
  };
  const TemporaryDirectory directory;
  const fs::path file = directory.path() / "c";
  for (const Lie& lie : lies) {
    SCOPED_TRACE(lie.what);
    Calibration calibration = Full();
    lie.tell(calibration);
    ASSERT_THAT(Save(calibration, file), IsOk());
    EXPECT_THAT(LoadCalibration(file), FailsWith(kDamaged, "damaged"));
  }
}

}  // namespace
}  // namespace octet::quantization
