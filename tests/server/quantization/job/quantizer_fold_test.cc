// Smoothing that becomes a part of what makes the inputs, from the plan to the
// bundle.

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/bundle/bundle.h"
#include "server/model/model.h"
#include "server/quantization/job/quantizer.h"
#include "server/quantization/methods/layer_quantizer.h"
#include "server/quantization/planning/planner.h"
#include "server/quantization/search/trial_tensors.h"
#include "tests/server/quantization/quantize_mlp.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

using model::Scheme;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kValue[] = "encoder.layer.0.attention.self.value";
constexpr char kOutput[] = "encoder.layer.0.attention.output.dense";

PlanRequest Smoothed(Scheme scheme) {
  PlanRequest request;
  request.scheme = scheme;
  request.methods.smoothing = Smoothing::kAlpha;
  request.methods.smoothing_alpha = 0.5;
  return request;
}

// The same plan with all of its smoothing fused.
std::unique_ptr<const model::Model> FusedModel(const OpenedModel& opened,
                                               const Calibration& calibration,
                                               const PlanRequest& request,
                                               TrialTensors& tensors) {
  const model::Graph& graph = opened.model->graph();
  const auto plan = MakePlan({.graph = graph,
                              .checkpoint = *opened.files.tensors,
                              .calibration = calibration,
                              .request = request,
                              .cancelled = {}});
  EXPECT_THAT(plan, IsOk());
  model::Plan schemes;
  for (const model::Linear* linear : graph.Linears()) {
    const auto weight =
        model::ToFloat(*opened.files.tensors->Find(linear->layer + ".weight"));
    const LayerPlan& layer_plan = plan->layers.at(linear->layer);
    const auto layer = QuantizeLayer(
        linear->layer,
        {weight->data(), linear->out_features, linear->in_features}, {},
        layer_plan, calibration.SamplesOf(linear->layer), nullptr);
    EXPECT_THAT(layer, IsOk());
    tensors.Put(*linear, layer_plan, *layer);
    schemes[linear->layer] = layer_plan.scheme;
  }
  auto model = model::Model::Create(graph, tensors, schemes);
  EXPECT_THAT(model, IsOk());
  return *std::move(model);
}

// A division before rounding may move a code by one, where it lay between two.
TEST_F(QuantizeMlp, FoldedComputesWhatFusedDoes) {
  const OpenedModel opened = OpenFloat(checkpoint_.path());
  for (const Scheme scheme : {Scheme::kW8A8Dynamic, Scheme::kW8A8Static}) {
    SCOPED_TRACE(model::Name(scheme));
    QuantizeJob job = Job();
    job.request = Smoothed(scheme);
    job.request.float_scheme = Scheme::kFp32;
    TrialTensors tensors(*opened.files.tensors);
    const auto fused = FusedModel(opened, calibration_, job.request, tensors);
    const auto manifest = Quantize(job);
    ASSERT_THAT(manifest, IsOk());
    EXPECT_FALSE(manifest->plan.at("fc2").smoothed);
    const auto bundle =
        bundle::OpenBundle(output_.path(), bundle::Verify::kDigests);
    ASSERT_THAT(bundle, IsOk());
    const auto folded = bundle::LoadModel(*bundle);
    ASSERT_THAT(folded, IsOk());
    const model::ModelInput batch = Batch(200, 77);
    const auto expected = fused->Forward(batch, {});
    const auto actual = (*folded)->Forward(batch, {});
    ASSERT_THAT(expected, IsOk());
    ASSERT_THAT(actual, IsOk());
    float largest = 0.0F;
    for (const float y : expected->values) {
      largest = std::max(largest, std::fabs(y));
    }
    size_t moved = 0;
    for (size_t i = 0; i < expected->values.size(); ++i) {
      const float difference =
          std::fabs(expected->values[i] - actual->values[i]);
      if (difference > 1e-5F * largest) ++moved;
      ASSERT_LT(difference, 0.02F * largest) << i;
    }
    EXPECT_LT(moved, expected->values.size() / 50);
  }
}

TEST_F(QuantizeMlp, BundleSaysWhatIsFoldedAndWhatIsFused) {
  QuantizeJob job = Job();
  job.request = Smoothed(Scheme::kW8A8Static);
  const auto manifest = Quantize(job);
  ASSERT_THAT(manifest, IsOk());
  const bundle::LayerReport& first = manifest->report.layers[0];
  const bundle::LayerReport& second = manifest->report.layers[1];
  EXPECT_TRUE(manifest->plan.at("fc1").smoothed);  // of the model's own input
  EXPECT_EQ(first.smoothing_folded_into, "");
  EXPECT_EQ(first.smoothing_alpha, 0.5);
  EXPECT_EQ(second.smoothing_folded_into, "fc1");
  EXPECT_EQ(second.smoothing_alpha, 0.5);
  for (const bundle::LayerReport& layer : manifest->report.layers) {
    EXPECT_GT(layer.weight.sqnr_db, 35.0) << layer.layer;
    EXPECT_GT(layer.output.cosine, 0.999) << layer.layer;
  }
  EXPECT_GT(manifest->report.worst_row_cosine, 0.99);
  EXPECT_THAT(manifest->compressed_tensors, HasSubstr("'fc1'"));
  const auto files = bundle::OpenModelFiles(output_.path());
  ASSERT_THAT(files, IsOk());
  EXPECT_TRUE(files->tensors->Contains("fc1.inverse_smoothing"));
  EXPECT_FALSE(files->tensors->Contains("fc2.inverse_smoothing"));
}

// The largest input of a layer.
class LargestInput : public model::LinearObserver {
 public:
  explicit LargestInput(std::string layer) : layer_(std::move(layer)) {}

  absl::Status OnLinear(const model::Linear& linear,
                        kernels::MatrixView<const float> x,
                        kernels::MatrixView<const float> /*y*/) override {
    for (size_t i = 0; linear.layer == layer_ && i < x.rows; ++i) {
      value = std::max(value, *std::max_element(x.row(i), x.row(i) + x.cols));
    }
    return absl::OkStatus();
  }

  float value = 0.0F;

 private:
  std::string layer_;
};

// What drift of live inputs is measured against.
TEST_F(QuantizeMlp, RangesOfAFoldedInputAreOfTheDividedOne) {
  QuantizeJob job = Job();
  job.request = Smoothed(Scheme::kW8A8Dynamic);
  const auto manifest = Quantize(job);
  ASSERT_THAT(manifest, IsOk());
  const auto bundle =
      bundle::OpenBundle(output_.path(), bundle::Verify::kSizes);
  ASSERT_THAT(bundle, IsOk());
  const auto quantized = bundle::LoadModel(*bundle);
  ASSERT_THAT(quantized, IsOk());
  LargestInput largest("fc2");
  model::RunOptions run;
  run.observer = &largest;
  for (uint32_t seed = 100; seed < 104; ++seed) {
    ASSERT_THAT((*quantized)->Forward(Batch(30, seed), run), IsOk());
  }
  const bundle::LayerRange& range = manifest->statistics.at("fc2");
  EXPECT_EQ(range.rows, 120);
  EXPECT_NEAR(range.max, largest.value, 0.02F * largest.value);
  EXPECT_NEAR(range.absmax, largest.value, 0.02F * largest.value);
}

// Those kept are few, and what they lack would be clipped.
TEST_F(QuantizeMlp, AStaticRangeBehindASmoothingIsOfAllRowsSeen) {
  const OpenedModel opened = OpenFloat(checkpoint_.path());
  CalibrationOptions options;
  options.rows = 4;
  Calibration few = NewCalibration("mlp", options);
  std::vector<float> rows;
  for (uint32_t seed = 100; seed < 104; ++seed) {
    const model::ModelInput batch = Batch(30, seed);
    ASSERT_THAT(ObserveInputs(*opened.model, batch, nullptr, few), IsOk());
    rows.insert(rows.end(), batch.features.begin(), batch.features.end());
  }
  QuantizeJob job = Job();
  job.calibration = &few;
  job.request = Smoothed(Scheme::kW8A8Static);
  ASSERT_THAT(Quantize(job), IsOk());
  const auto files = bundle::OpenModelFiles(output_.path());
  ASSERT_THAT(files, IsOk());
  const auto inverse = Values<float>(*files->tensors, "fc1.inverse_smoothing");
  ASSERT_EQ(inverse.size(), kMlpIn);
  Range expected;
  for (size_t i = 0; i < rows.size(); ++i) {
    const float value = rows[i] * inverse[i % kMlpIn];
    expected.min = std::min(expected.min, value);
    expected.max = std::max(expected.max, value);
  }
  EXPECT_NEAR(Values<float>(*files->tensors, "fc1.input_scale").at(0),
              AffineFromRange(expected.min, expected.max).scale, 1e-6);
}

TEST_F(QuantizeMlp, AFoldedPlanCanBeSaidToOtherEngines) {
  QuantizeJob job = Job();
  job.request.scheme = Scheme::kW8A8Dynamic;
  MethodsOverride smoothed;
  smoothed.smoothing = Smoothing::kAlpha;
  job.request.overrides.push_back(
      {.pattern = "fc2", .scheme = {}, .methods = smoothed});
  const auto manifest = Quantize(job);
  ASSERT_THAT(manifest, IsOk());
  EXPECT_EQ(manifest->report.layers[1].smoothing_folded_into, "fc1");
  EXPECT_THAT(manifest->compressed_tensors, IsEmpty());
}

// Producers that are not quantized, and corrected biases, are divided too.
TEST(QuantizeFolded, BertDividesItsValues) {
  const TemporaryDirectory checkpoint;
  WriteCheckpoint(checkpoint.path(), BertTensors(), kBertConfig);
  const OpenedModel opened = OpenFloat(checkpoint.path());
  Calibration calibration;
  ASSERT_THAT(
      ObserveInputs(*opened.model, Tokens({{1, 2, 3}, {4, 5}, {6, 7, 8, 9}}),
                    nullptr, calibration),
      IsOk());
  for (const bool float_values : {false, true}) {
    for (const bool corrected : {false, true}) {
      SCOPED_TRACE(float_values);
      const TemporaryDirectory output;
      QuantizeJob job;
      job.checkpoint = checkpoint.path();
      job.output = output.path();
      job.calibration = &calibration;
      job.request = Smoothed(Scheme::kW8A8Dynamic);
      job.request.methods.bias_correction = corrected;
      if (float_values) job.request.exclude = {kValue};
      const auto manifest = Quantize(job);
      ASSERT_THAT(manifest, IsOk());
      std::map<std::string, std::string> folded;
      for (const bundle::LayerReport& layer : manifest->report.layers) {
        EXPECT_GT(layer.output.cosine, 0.998) << layer.layer;
        if (layer.smoothing_folded_into.empty()) continue;
        folded[layer.layer] = layer.smoothing_folded_into;
      }
      EXPECT_THAT(folded, ElementsAre(std::pair(kOutput, kValue)));
      EXPECT_GT(manifest->report.worst_row_cosine, 0.99);
    }
  }
}

}  // namespace
}  // namespace octet::quantization
