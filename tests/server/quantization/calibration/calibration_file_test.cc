#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/quantization/calibration/calibration.h"
#include "tests/server/quantization/calibration/reservoir_values.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

namespace fs = std::filesystem;

constexpr auto kDamaged = absl::StatusCode::kDataLoss;

CalibratedInput Input(std::vector<std::string> layers) {
  CalibratedInput input;
  input.layers = std::move(layers);
  input.statistics = LayerStatistics(5);
  input.rows = RowReservoir(10, 5);
  input.named_rows = 2;
  const std::vector<float> rows = RandomValues(20, 3);
  const std::vector<uint64_t> keys = {9, ~uint64_t{0}, 4, 7};
  input.statistics.Observe({rows.data(), 4, 5});
  input.statistics.Observe({rows.data(), 2, 5});
  input.rows.Offer({rows.data(), 4, 5}, keys);
  return input;
}

// Something in every field.
Calibration Full() {
  Calibration calibration = NewCalibration(
      "some-checkpoint", {.seed = ~uint64_t{0}, .rows = 10, .samples = 3});
  calibration.batches = 3;
  calibration.samples = uint64_t{1} << 40;
  calibration.inputs.emplace("a.b/c", Input({"a.b/c", "fc \"quoted\""}));
  calibration.inputs.emplace("z", Input({"z"}));
  calibration.kept.Offer(
      SampleReservoir::Sample::OfTokens(~uint64_t{1}, {5, 6}));
  calibration.kept.Offer(SampleReservoir::Sample::OfTokens(8, {7}));
  for (const uint64_t key : {uint64_t{1}, ~uint64_t{0}, uint64_t{42}}) {
    calibration.sketch.Add(key, SignatureOfKey(key / 43));
  }
  return calibration;
}

void ExpectSameInput(const CalibratedInput& a, const CalibratedInput& b) {
  EXPECT_EQ(a.layers, b.layers);
  EXPECT_EQ(a.named_rows, b.named_rows);
  EXPECT_EQ(a.statistics.rows, b.statistics.rows);
  EXPECT_EQ(a.statistics.batches, b.statistics.batches);
  EXPECT_EQ(a.statistics.min, b.statistics.min);
  EXPECT_EQ(a.statistics.max, b.statistics.max);
  EXPECT_EQ(a.statistics.sum_batch_min, b.statistics.sum_batch_min);
  EXPECT_EQ(a.statistics.sum_batch_max, b.statistics.sum_batch_max);
  EXPECT_EQ(a.statistics.column_min, b.statistics.column_min);
  EXPECT_EQ(a.statistics.column_max, b.statistics.column_max);
  EXPECT_EQ(a.statistics.column_absmax, b.statistics.column_absmax);
  EXPECT_EQ(a.statistics.column_sum, b.statistics.column_sum);
  EXPECT_EQ(a.statistics.column_sum_squares, b.statistics.column_sum_squares);
  EXPECT_EQ(a.statistics.histogram, b.statistics.histogram);
  EXPECT_EQ(a.rows.capacity(), b.rows.capacity());
}

TEST(CalibrationFile, EverythingComesBack) {
  const TemporaryDirectory directory;
  const fs::path file = directory.path() / "c.calibration";
  const Calibration saved = Full();
  ASSERT_THAT(Save(saved, file), IsOk());
  const auto loaded = LoadCalibration(file);
  ASSERT_THAT(loaded, IsOk());
  EXPECT_EQ(loaded->checkpoint, saved.checkpoint);
  EXPECT_EQ(loaded->options, saved.options);
  EXPECT_EQ(loaded->batches, saved.batches);
  EXPECT_EQ(loaded->samples, saved.samples);
  EXPECT_EQ(loaded->KeptInputs().token_ids, saved.KeptInputs().token_ids);
  EXPECT_EQ(loaded->KeptInputs().lengths, saved.KeptInputs().lengths);
  EXPECT_EQ(loaded->kept.capacity(), 3);
  ASSERT_EQ(loaded->sketch.entries().size(), 3);
  for (size_t i = 0; i < 3; ++i) {
    const auto& entry = loaded->sketch.entries()[i];
    EXPECT_EQ(entry.key, saved.sketch.entries()[i].key);
    EXPECT_EQ(entry.signature, saved.sketch.entries()[i].signature);
    EXPECT_EQ(entry.is_near, saved.sketch.entries()[i].is_near);
  }
  EXPECT_EQ(loaded->NearDuplicateSamples(), 1);
  ASSERT_EQ(loaded->inputs.size(), saved.inputs.size());
  for (const auto& [name, input] : saved.inputs) {
    const CalibratedInput& other = loaded->inputs.find(name)->second;
    ExpectSameInput(other, input);
    EXPECT_EQ(other.rows.keys(), input.rows.keys());
    EXPECT_EQ(Values(other.rows), Values(input.rows));
  }
}

TEST(CalibrationFile, StaysAsItWasOpened) {
  const TemporaryDirectory directory;
  const fs::path file = directory.path() / "c";
  Calibration saved = Full();
  ASSERT_THAT(Save(saved, file), IsOk());
  const auto opened = CalibrationFile::Open(file);
  ASSERT_THAT(opened, IsOk());
  const uint64_t before = saved.samples++;
  ASSERT_THAT(Save(saved, file), IsOk());
  EXPECT_EQ(opened->Read(Load::kAll)->samples, before);
  fs::remove(file);
  EXPECT_EQ(opened->Read(Load::kAll)->samples, before);
}

TEST(CalibrationFile, StatisticsComeWithoutWhatWasKept) {
  const TemporaryDirectory directory;
  const fs::path file = directory.path() / "c";
  const Calibration saved = Full();
  ASSERT_THAT(Save(saved, file), IsOk());
  const auto loaded = LoadCalibration(file, Load::kStatistics);
  ASSERT_THAT(loaded, IsOk());
  for (const auto& [name, input] : saved.inputs) {
    const CalibratedInput& other = loaded->inputs.find(name)->second;
    ExpectSameInput(other, input);
    EXPECT_EQ(other.rows.rows().rows, 0);
  }
  EXPECT_EQ(loaded->KeptInputs().rows(), 0);
  EXPECT_EQ(loaded->Warnings(), saved.Warnings());
}

TEST(CalibrationFile, KeptFeaturesComeBack) {
  const TemporaryDirectory directory;
  const fs::path file = directory.path() / "c";
  Calibration saved = NewCalibration("x", {});
  for (uint64_t key = 1; key < 4; ++key) {
    saved.kept.Offer(SampleReservoir::Sample::OfFeatures(
        key, RandomValues(7, static_cast<uint32_t>(key))));
  }
  ASSERT_THAT(Save(saved, file), IsOk());
  const auto loaded = LoadCalibration(file);
  ASSERT_THAT(loaded, IsOk());
  EXPECT_EQ(loaded->KeptInputs().features, saved.KeptInputs().features);
  EXPECT_EQ(loaded->KeptInputs().feature_rows, 3);
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
  EXPECT_TRUE(loaded->inputs.empty());
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

// The next place to damage: in steps of `step` through the header, which is a
// few pages, and in larger ones through the tensors.
size_t Next(const std::string& bytes, size_t place, size_t step) {
  const size_t header = std::min<size_t>(bytes.find("}}") + 64, bytes.size());
  return place + (place < header ? step : 997);
}

TEST(CalibrationFile, CutAnywhereIsDataLoss) {
  const TemporaryDirectory directory;
  const fs::path file = directory.path() / "c";
  ASSERT_THAT(Save(Full(), file), IsOk());
  const std::string bytes = ReadText(file);
  for (size_t size = 0; size < bytes.size(); size = Next(bytes, size, 13)) {
    WriteText(file, std::string_view(bytes).substr(0, size));
    EXPECT_THAT(LoadCalibration(file), FailsWith(kDamaged, "'c'")) << size;
  }
}

// Any byte may change: the answer is a calibration or DATA_LOSS.
TEST(CalibrationFile, AnyChangedByteIsSurvived) {
  const TemporaryDirectory directory;
  const fs::path file = directory.path() / "c";
  ASSERT_THAT(Save(Full(), file), IsOk());
  const std::string bytes = ReadText(file);
  for (size_t i = 0; i < bytes.size(); i = Next(bytes, i, 1)) {
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
  void (*tell)(LayerStatistics&);
};

TEST(CalibrationFile, StatisticsThatCannotBeAreDataLoss) {
  const Lie lies[] = {
      {"minimum above maximum",
       [](LayerStatistics& s) { s.column_min[0] = s.column_max[0] + 1.0F; }},
      {"range without zero", [](LayerStatistics& s) { s.min = 1.0F; }},
      {"NaN maximum", [](LayerStatistics& s) { s.max = NAN; }},
      {"infinite sum", [](LayerStatistics& s) { s.column_sum[2] = INFINITY; }},
      {"negative squares",
       [](LayerStatistics& s) { s.column_sum_squares[1] = -1.0; }},
      {"NaN mean", [](LayerStatistics& s) { s.sum_batch_max = NAN; }},
      {"no batch", [](LayerStatistics& s) { s.batches = 0; }},
      {"more rows than were counted", [](LayerStatistics& s) { ++s.rows; }},
  };
  const TemporaryDirectory directory;
  const fs::path file = directory.path() / "c";
  for (const Lie& lie : lies) {
    SCOPED_TRACE(lie.what);
    Calibration calibration = Full();
    lie.tell(calibration.inputs.begin()->second.statistics);
    ASSERT_THAT(Save(calibration, file), IsOk());
    EXPECT_THAT(LoadCalibration(file), FailsWith(kDamaged, "damaged"));
  }
}

TEST(CalibrationFile, KeptThingsThatCannotBeAreDataLoss) {
  const TemporaryDirectory directory;
  const fs::path file = directory.path() / "c";
  Calibration calibration = Full();
  calibration.kept.Offer(SampleReservoir::Sample::OfTokens(1, {}));
  ASSERT_THAT(Save(calibration, file), IsOk());
  EXPECT_THAT(LoadCalibration(file), FailsWith(kDamaged, "kept"));

  calibration = Full();
  CalibratedInput& input = calibration.inputs.begin()->second;
  const std::vector<float> nan(5, NAN);
  const std::vector<uint64_t> key = {0};
  input.rows.Offer({nan.data(), 1, 5}, key);
  ASSERT_THAT(Save(calibration, file), IsOk());
  EXPECT_THAT(LoadCalibration(file), FailsWith(kDamaged, "NaN"));

  calibration = Full();
  calibration.options.samples = 1;  // two are kept
  ASSERT_THAT(Save(calibration, file), IsOk());
  EXPECT_THAT(LoadCalibration(file), FailsWith(kDamaged, "kept"));
}

}  // namespace
}  // namespace octet::quantization
