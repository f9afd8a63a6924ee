#include "server/quantization/job/quantizer.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/server/quantization/quantize_mlp.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

using model::Scheme;
using ::testing::ElementsAre;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Lt;
using ::testing::Not;

TEST_F(QuantizeMlp, ReportSaysWhatWasStoredAndLost) {
  const auto manifest = Quantize(Job());
  ASSERT_THAT(manifest, IsOk());
  const bundle::QuantizationReport& report = manifest->report;
  ASSERT_EQ(report.layers.size(), 2);
  const bundle::LayerReport& layer = report.layers[0];
  EXPECT_EQ(layer.layer, "fc1");
  EXPECT_EQ(layer.scheme, Scheme::kW8A8Dynamic);
  EXPECT_EQ(layer.rows, kMlpHidden);
  EXPECT_EQ(layer.cols, kMlpIn);
  EXPECT_EQ(layer.float_bytes, kMlpHidden * kMlpIn * 4);
  EXPECT_EQ(layer.stored_bytes, kMlpHidden * kMlpIn + kMlpHidden * 4);
  EXPECT_EQ(layer.output_rows, CalibrationOptions().samples);
  EXPECT_THAT(layer.weight.sqnr_db, Gt(35.0));
  EXPECT_THAT(layer.output.cosine, Gt(0.999));
  EXPECT_THAT(layer.output.max_error, Gt(0.0));
  EXPECT_EQ(report.linear_float_bytes,
            report.layers[0].float_bytes + report.layers[1].float_bytes);
  EXPECT_EQ(report.linear_stored_bytes,
            report.layers[0].stored_bytes + report.layers[1].stored_bytes);
  EXPECT_EQ(
      report.checkpoint_bytes,
      4 * (kMlpHidden * kMlpIn + kMlpOut * kMlpHidden + kMlpHidden + kMlpOut));
  EXPECT_EQ(report.bundle_bytes,
            report.linear_stored_bytes + 2 * (kMlpHidden + kMlpOut));
  // The relu leaves some channels of random weights silent.
  EXPECT_THAT(report.warnings, ElementsAre(HasSubstr("never active")));
}

TEST_F(QuantizeMlp, TakingOutliersOutHelps) {
  QuantizeJob job = Job();
  const auto plain = Quantize(job);
  ASSERT_THAT(plain, IsOk());
  job.request.scheme = Scheme::kLlmInt8;
  const auto decomposed = Quantize(job);
  ASSERT_THAT(decomposed, IsOk());
  EXPECT_EQ(decomposed->report.layers[0].outlier_columns, 1);
  EXPECT_GT(decomposed->report.layers[0].output.sqnr_db,
            plain->report.layers[0].output.sqnr_db + 6.0);
  EXPECT_THAT(decomposed->compressed_tensors, Not(IsEmpty()));
}

TEST_F(QuantizeMlp, ManifestTellsPlanStatisticsAndProvenance) {
  QuantizeJob job = Job();
  job.request.exclude = {"fc2"};
  const auto manifest = Quantize(job);
  ASSERT_THAT(manifest, IsOk());
  EXPECT_EQ(manifest->family, "mlp");
  EXPECT_EQ(manifest->plan.at("fc1").scheme, Scheme::kW8A8Dynamic);
  EXPECT_EQ(manifest->plan.at("fc2").scheme, Scheme::kFp16);
  EXPECT_EQ(manifest->report.layers[1].reason, "excluded by 'fc2'");
  EXPECT_EQ(manifest->statistics.at("fc1").rows, 120);
  EXPECT_GT(manifest->statistics.at("fc1").absmax, 30.0F);
  EXPECT_EQ(manifest->provenance.checkpoint, "checkpoints/mlp");
  EXPECT_TRUE(manifest->files.contains("model.safetensors"));
  EXPECT_TRUE(manifest->files.contains("config.json"));
}

TEST_F(QuantizeMlp, StaticParametersAreStoredAsTheFormatSays) {
  QuantizeJob job = Job();
  job.request.scheme = Scheme::kW8A8Static;
  ASSERT_THAT(Quantize(job), IsOk());
  const auto files = bundle::OpenModelFiles(output_.path());
  ASSERT_THAT(files, IsOk());
  const LayerStatistics& seen = calibration_.Find("fc1")->statistics;
  const AffineParameters expected = AffineFromRange(seen.min, seen.max);
  EXPECT_EQ(Values<float>(*files->tensors, "fc1.input_scale"),
            std::vector<float>{expected.scale});
  EXPECT_EQ(
      Values<int8_t>(*files->tensors, "fc1.input_zero_point"),
      std::vector<int8_t>{static_cast<int8_t>(expected.zero_point - 128)});
  EXPECT_EQ(files->tensors->Find("fc1.weight_scale")->shape,
            (std::vector<int64_t>{kMlpHidden, 1}));
}

TEST_F(QuantizeMlp, TheStaticScaleIsOfTheRangeThatTheCalibratorChose) {
  QuantizeJob job = Job();
  job.request.scheme = Scheme::kW8A8Static;
  job.request.methods.calibrator = Calibrator::kMse;
  MethodsOverride percentile;
  percentile.calibrator = Calibrator::kPercentile;
  percentile.percentile = 99.0;
  job.request.overrides = {{"fc2", {}, percentile}};
  const auto manifest = Quantize(job);
  ASSERT_THAT(manifest, IsOk());
  const auto files = bundle::OpenModelFiles(output_.path());
  ASSERT_THAT(files, IsOk());
  const auto expect = [&](const std::string& layer, Calibrator calibrator,
                          double percentile) {
    const LayerStatistics& seen = calibration_.Find(layer)->statistics;
    const Range range = ChooseRange(calibrator, seen, percentile);
    ASSERT_NE(range, ChooseRange(Calibrator::kMinMax, seen));
    EXPECT_EQ(Values<float>(*files->tensors, layer + ".input_scale"),
              std::vector<float>{AffineFromRange(range.min, range.max).scale});
  };
  expect("fc1", Calibrator::kMse, kDefaultPercentile);
  expect("fc2", Calibrator::kPercentile, 99.0);
  for (const auto& [layer, chosen] :
       {std::pair("fc1", "mse"), std::pair("fc2", "percentile")}) {
    for (const auto& report : manifest->report.layers) {
      if (report.layer != layer) continue;
      for (const auto& calibrator : report.calibrators) {
        EXPECT_EQ(calibrator.chosen, calibrator.calibrator == chosen) << layer;
      }
    }
  }
}

TEST_F(QuantizeMlp, TheReportCountsOutliersAmongTheRowsThatWereKept) {
  QuantizeJob job = Job();
  job.request.scheme = Scheme::kLlmInt8;
  const auto manifest = Quantize(job);
  ASSERT_THAT(manifest, IsOk());
  const bundle::LayerReport& fc1 = manifest->report.layers[0];
  EXPECT_EQ(fc1.outlier_columns, 1);
  const auto rows = calibration_.Find("fc1")->rows.rows();
  size_t reach = 0;
  for (size_t r = 0; r < rows.rows; ++r) {
    for (size_t k = 0; k < rows.cols; ++k) {
      if (std::fabs(rows.row(r)[k]) >= fc1.outlier_threshold) ++reach;
    }
  }
  ASSERT_GT(reach, 0);
  EXPECT_DOUBLE_EQ(
      fc1.outlier_value_share,
      static_cast<double>(reach) / static_cast<double>(rows.rows * rows.cols));
}

TEST_F(QuantizeMlp, ConfigSaysTheQuantizationWhereItCan) {
  const auto manifest = Quantize(Job());
  ASSERT_THAT(manifest, IsOk());
  EXPECT_EQ(manifest->compressed_tensors, "");
  const auto config =
      nlohmann::json::parse(ReadText(output_.path() / "config.json"));
  EXPECT_EQ(config["model_type"], "mlp");
  EXPECT_EQ(config["quantization_config"]["quant_method"],
            "compressed-tensors");
}

TEST_F(QuantizeMlp, AFloatBundleIsNoneOfCompressedTensors) {
  QuantizeJob job = Job();
  job.request.scheme = Scheme::kFp16;
  const auto manifest = Quantize(job);
  ASSERT_THAT(manifest, IsOk());
  EXPECT_EQ(manifest->compressed_tensors, "no layer is INT8");
}

TEST_F(QuantizeMlp, HiddenFilesStayBehind) {
  for (const char* path : {"notes/a.txt", ".git/config", "notes/.b.json",
                           ".octet.json.tmp/a.json"}) {
    const auto file = checkpoint_.path() / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << "{}";
  }
  const auto manifest = Quantize(Job());
  ASSERT_THAT(manifest, IsOk());
  std::vector<std::string> paths;
  for (const auto& [path, digest] : manifest->files) paths.push_back(path);
  EXPECT_THAT(paths,
              ElementsAre("config.json", "model.safetensors", "notes/a.txt"));
}

TEST(Quantize, BertKeepsIntegersAndMeasuresEveryLayer) {
  const TemporaryDirectory checkpoint;
  const TemporaryDirectory output;
  WriteCheckpoint(checkpoint.path(), BertTensors(), kBertConfig);
  const OpenedModel opened = OpenFloat(checkpoint.path());
  Calibration calibration;
  ASSERT_THAT(
      ObserveInputs(*opened.model, Tokens({{1, 2, 3}, {4, 5}, {6, 7, 8, 9}}),
                    nullptr, calibration),
      IsOk());
  QuantizeJob job;
  job.checkpoint = checkpoint.path();
  job.output = output.path();
  job.calibration = &calibration;
  job.request.scheme = Scheme::kW8A8Static;
  job.request.keep_first = true;
  const auto manifest = Quantize(job);
  ASSERT_THAT(manifest, IsOk());
  EXPECT_EQ(manifest->report.layers.size(), 6);
  for (const bundle::LayerReport& layer : manifest->report.layers) {
    EXPECT_EQ(layer.output_rows, 9) << layer.layer;
    EXPECT_GT(layer.output.cosine, 0.99) << layer.layer;
  }
  EXPECT_GT(manifest->report.worst_row_cosine, 0.98);
  const auto files = bundle::OpenModelFiles(output.path());
  ASSERT_THAT(files, IsOk());
  EXPECT_EQ(Values<int64_t>(*files->tensors, "embeddings.position_ids"),
            (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(files->tensors->Find("embeddings.word_embeddings.weight")->type,
            model::DataType::kF16);
  EXPECT_EQ(
      files->tensors->Find("encoder.layer.0.attention.self.key.weight")->type,
      model::DataType::kF16);
}

TEST(Quantize, LinearSetIsMeasuredOnItsActivations) {
  const TemporaryDirectory checkpoint;
  const TemporaryDirectory output;
  WriteCheckpoint(checkpoint.path(),
                  {{"a.weight", {6, 8}, RandomValues(48, 1)},
                   {"b.weight", {4, 12}, RandomValues(48, 2)}},
                  "");
  const OpenedModel opened = OpenFloat(checkpoint.path());
  Calibration calibration;
  const std::vector<float> rows = RandomValues(20 * 8, 3);
  ASSERT_THAT(ObserveActivations(opened.model->graph(), "a",
                                 {rows.data(), 20, 8}, calibration),
              IsOk());
  QuantizeJob job;
  job.checkpoint = checkpoint.path();
  job.output = output.path();
  job.calibration = &calibration;
  const auto manifest = Quantize(job);
  ASSERT_THAT(manifest, IsOk());
  EXPECT_EQ(manifest->report.layers[0].output_rows, 20);
  EXPECT_THAT(manifest->report.layers[0].output.sqnr_db, Gt(25.0));
  EXPECT_EQ(manifest->report.layers[1].output_rows, 0);
  EXPECT_EQ(manifest->report.model_rows, 0);
  EXPECT_THAT(manifest->compressed_tensors, HasSubstr("config.json"));
  const auto bundle =
      bundle::OpenBundle(output.path(), bundle::Verify::kDigests);
  ASSERT_THAT(bundle, IsOk());
  EXPECT_THAT(bundle::LoadModel(*bundle), IsOk());
}

TEST(Quantize, AllZeroChannelsAreReported) {
  const TemporaryDirectory checkpoint;
  const TemporaryDirectory output;
  std::vector<float> weight = RandomValues(48, 1);
  std::fill_n(weight.begin() + 8, 16, 0.0F);
  WriteCheckpoint(checkpoint.path(), {{"a.weight", {6, 8}, weight}}, "");
  QuantizeJob job;
  job.checkpoint = checkpoint.path();
  job.output = output.path();
  job.calibration = nullptr;
  const auto manifest = Quantize(job);
  ASSERT_THAT(manifest, IsOk());
  EXPECT_EQ(manifest->report.layers[0].zero_channels, 2);
  EXPECT_THAT(manifest->report.layers[0].weight.max_error, Lt(0.02));
}

}  // namespace
}  // namespace octet::quantization
