#include "server/bundle/manifest.h"

#include <cmath>
#include <limits>

#include "nlohmann/json.hpp"
#include "tests/server/bundle/support.h"

namespace octet::bundle {
namespace {

using absl::StatusCode;
using nlohmann::json;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

Manifest Example() {
  Manifest manifest;
  manifest.family = "mlp";
  manifest.plan["fc1"] = {model::Scheme::kLlmInt8, 6.1F, 64, 512, true};
  manifest.plan["fc2"] = {model::Scheme::kBf16, 0};
  manifest.statistics["fc1"] = {256, -1.1F, 3e38F, 3e38F, 0.1};
  LayerReport layer;
  layer.layer = "fc1";
  layer.scheme = model::Scheme::kLlmInt8;
  layer.rows = 384;
  layer.cols = 1536;
  layer.float_bytes = uint64_t{1} << 40;
  layer.stored_bytes = 7;
  layer.weight = {41.25, 0.99996, 1e-300};
  layer.output = {kInfinity, 1.0, 0.0};
  layer.output_rows = 5;
  layer.zero_channels = 1;
  layer.outlier_columns = 6;
  layer.reason = "tab\tquote\" umlaut \xc3\xa4";
  layer.smoothing_alpha = 0.5;
  layer.smoothing_folded_into = "fc0";
  layer.group_size = 64;
  layer.rounding = "gptq";
  layer.bias_correction = true;
  layer.weights.channels = 384;
  layer.weights.histogram = {-1.5, 1.5, {1, ~uint64_t{0}, 3}};
  layer.weights.channel_absmax = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6};
  layer.activations.largest_channels = {{17, 30.3}, {4, 21.0}};
  layer.calibrators = {{"min_max", -1.0, 2.0, true}, {"mse", -0.9, 1.5, false}};
  layer.candidates = {{"llm_int8",
                       model::Scheme::kLlmInt8,
                       {40.0, 0.9999, 0.1},
                       1000,
                       12.5,
                       true}};
  manifest.report.layers = {layer, LayerReport()};
  manifest.report.budgets = {{"min_mean_cosine", 0.9995, 0.9996, true}};
  manifest.report.frontier = {{"auto", 7, 0.01, 0.9996, 100.0, true, true}};
  manifest.report.model = {-kInfinity, 0.1, kInfinity};
  manifest.report.mean_row_cosine = 0.9967;
  manifest.report.worst_row_cosine = 0.1 + 0.2;
  manifest.report.model_rows = 64;
  manifest.report.linear_float_bytes = 1;
  manifest.report.linear_stored_bytes = 2;
  manifest.report.checkpoint_bytes = ~uint64_t{0};
  manifest.report.bundle_bytes = 4;
  manifest.report.warnings = {"one", "two"};
  manifest.provenance = {"checkpoints/a", "", "0.1.0", "2026-01-01T00:00:00Z"};
  manifest.compressed_tensors = "llm_int8";
  manifest.files["1_Pooling/config.json"] = {12, std::string(64, 'a')};
  return manifest;
}

TEST(Manifest, WhatIsWrittenIsReadBitForBit) {
  const std::string text = ToJson(Example());
  const auto parsed = ParseManifest(text);
  ASSERT_THAT(parsed, IsOk());
  EXPECT_EQ(ToJson(*parsed), text);

  EXPECT_EQ(parsed->plan, Example().plan);
  EXPECT_EQ(parsed->statistics.at("fc1").min, -1.1F);
  const LayerReport& layer = parsed->report.layers.at(0);
  EXPECT_EQ(layer.output.sqnr_db, kInfinity);
  EXPECT_EQ(layer.weight.max_error, 1e-300);
  EXPECT_EQ(layer.float_bytes, uint64_t{1} << 40);
  EXPECT_EQ(layer.reason, Example().report.layers[0].reason);
  EXPECT_EQ(layer.weights.histogram.counts[1], ~uint64_t{0});
  EXPECT_EQ(layer.activations.largest_channels[0].channel, 17);
  EXPECT_TRUE(layer.bias_correction);
  EXPECT_EQ(layer.candidates.at(0).output_error.sqnr_db, 40.0);
  EXPECT_EQ(parsed->report.frontier.at(0).name, "auto");
  EXPECT_EQ(parsed->report.model.sqnr_db, -kInfinity);
  EXPECT_EQ(parsed->report.worst_row_cosine, 0.1 + 0.2);
  EXPECT_EQ(parsed->report.checkpoint_bytes, ~uint64_t{0});
  EXPECT_EQ(parsed->files.at("1_Pooling/config.json").size_bytes, 12);
  EXPECT_EQ(parsed->provenance.create_time, "2026-01-01T00:00:00Z");
}

TEST(Manifest, InfinityAndNaNAreStringsInJson) {
  Manifest manifest = Example();
  manifest.report.mean_row_cosine = std::nan("");
  const json text = json::parse(ToJson(manifest));
  EXPECT_EQ(text["report"]["layers"][0]["output_error"]["sqnr_db"], "Infinity");
  EXPECT_EQ(text["report"]["model_error"]["sqnr_db"], "-Infinity");
  EXPECT_EQ(text["report"]["mean_row_cosine"], "NaN");
  EXPECT_TRUE(
      std::isnan(ParseManifest(ToJson(manifest))->report.mean_row_cosine));
}

TEST(Manifest, NamesThatAreNotUtf8DoNotThrow) {
  Manifest manifest = Example();
  manifest.report.warnings = {"\xff"};
  EXPECT_THAT(ParseManifest(ToJson(manifest)), IsOk());
}

TEST(Manifest, OfAnotherFormatVersionIsNotLookedInto) {
  for (const char* other :
       {R"({"format_version": 1})", R"({"format_version": 99, "new": []})"}) {
    EXPECT_THAT(ParseManifest(other),
                Fails(StatusCode::kFailedPrecondition,
                      "octet.json: format_version: this server reads 2, not "));
    EXPECT_THAT(ParseManifest(other), Fails(StatusCode::kFailedPrecondition,
                                            "quantize the checkpoint"));
  }
}

struct WrongField {
  const char* pointer;
  json value;
  const char* message;
};

TEST(Manifest, NamesTheFieldThatIsWrong) {
  const WrongField cases[] = {
      {"/format_version", "1", "octet.json: format_version"},
      {"/format_version", 1.5, "octet.json: format_version"},
      {"/family", 1, "octet.json: family: must be a string"},
      {"/plan", json::array(), "octet.json: plan: must be an object"},
      {"/plan/fc1", 1, "octet.json: plan.fc1: must be an object"},
      {"/plan/fc1/scheme", "int4", "octet.json: plan.fc1.scheme: "},
      {"/plan/fc1/outlier_threshold", "Infinity",
       "octet.json: plan.fc1.outlier_threshold"},
      {"/plan/fc1/outlier_threshold", -1,
       "octet.json: plan.fc1.outlier_threshold"},
      {"/plan/fc1/outlier_threshold", 1e39,
       "octet.json: plan.fc1.outlier_threshold: does not fit FP32"},
      {"/plan/fc1/group_size", 48, "octet.json: plan.fc1.group_size"},
      {"/plan/fc1/group_size", uint64_t{1} << 32,
       "octet.json: plan.fc1.group_size: is too large"},
      {"/plan/fc1/hadamard_block", 1, "octet.json: plan.fc1.hadamard_block"},
      {"/plan/fc1/hadamard_block", 2048, "octet.json: plan.fc1.hadamard_block"},
      {"/plan/fc1/smoothed", 1, "octet.json: plan.fc1.smoothed"},
      {"/plan/fc2/smoothed", true, "octet.json: plan.fc2.scheme"},
      {"/plan/fc1/more", 1, "octet.json: plan.fc1: unknown field 'more'"},
      {"/more", 1, "octet.json: unknown field 'more'"},
      {"/statistics/fc1/rows", -1, "octet.json: statistics.fc1.rows"},
      {"/statistics/fc1/rows", 1.0, "octet.json: statistics.fc1.rows"},
      {"/statistics/fc1/rows", uint64_t{1} << 63,
       "octet.json: statistics.fc1.rows: is too large"},
      {"/statistics/fc1/min", "small", "octet.json: statistics.fc1.min"},
      {"/report/layers", json::object(), "octet.json: report.layers"},
      {"/report/layers/1/output_error", nullptr,
       "octet.json: report.layers[1].output_error"},
      {"/report/layers/0/bias_correction", 1,
       "octet.json: report.layers[0].bias_correction: must be true or false"},
      {"/report/layers/0/group_size", uint64_t{1} << 32,
       "octet.json: report.layers[0].group_size: is too large"},
      {"/report/layers/0/weights/histogram/counts/1", -1,
       "octet.json: report.layers[0].weights.histogram.counts[1]"},
      {"/report/warnings/0", 5, "octet.json: report.warnings[0]"},
      {"/provenance", nullptr, "octet.json: provenance"},
      {"/files/octet.json",
       {{"size_bytes", 1}, {"sha256", std::string(64, 'a')}},
       "can not list itself"},
      {"/files/..",
       {{"size_bytes", 1}, {"sha256", std::string(64, 'a')}},
       "octet.json: files"},
      {"/files/x",
       {{"size_bytes", 1}, {"sha256", "AB"}},
       "octet.json: files.x.sha256"},
      {"/files/x",
       {{"size_bytes", -1}, {"sha256", std::string(64, 'a')}},
       "octet.json: files.x.size_bytes"},
  };
  for (const WrongField& wrong : cases) {
    SCOPED_TRACE(wrong.pointer);
    json text = json::parse(ToJson(Example()));
    text[json::json_pointer(wrong.pointer)] = wrong.value;
    EXPECT_THAT(ParseManifest(text.dump()),
                Fails(StatusCode::kInvalidArgument, wrong.message));
  }
}

TEST(Manifest, EveryFieldIsRequired) {
  const json whole = json::parse(ToJson(Example()));
  for (const auto& [name, value] : whole.items()) {
    json text = whole;
    text.erase(name);
    EXPECT_THAT(ParseManifest(text.dump()),
                Fails(StatusCode::kInvalidArgument, name));
  }
}

// Bundles were written before it was there.
TEST(Manifest, AFieldThatCameLaterMayBeMissing) {
  json text = json::parse(ToJson(Example()));
  text["report"]["layers"][0].erase("smoothing_folded_into");
  const auto parsed = ParseManifest(text.dump());
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->report.layers[0].smoothing_folded_into, "");
  EXPECT_EQ(parsed->report.layers[0].smoothing_alpha, 0.5);
}

TEST(Manifest, RefusesWhatIsNotOneDocument) {
  const std::string good = ToJson(Example());
  std::string deep(200'000, '[');
  const std::pair<std::string, const char*> cases[] = {
      {"", "not JSON"},
      {"[]", "must be an object"},
      {"null", "must be an object"},
      {good + good, "not JSON"},
      {good.substr(0, good.size() / 2), "not JSON"},
      {deep, "nested deeper"},
      {R"({"format_version":2,"format_version":2})", "occurs twice"},
      {R"({"family":"\ud800"})", "not JSON"},
      {R"({"format_version":1e999})", "not JSON"},
  };
  for (const auto& [text, message] : cases) {
    EXPECT_THAT(ParseManifest(text),
                Fails(StatusCode::kInvalidArgument, message))
        << text.substr(0, 40);
  }
}

}  // namespace
}  // namespace octet::bundle
