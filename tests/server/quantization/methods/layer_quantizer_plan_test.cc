// What a layer's plan and samples must be, what folded smoothing changes, and
// what layers share.

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/int8_linear.h"
#include "server/quantization/methods/compensations.h"
#include "server/quantization/methods/error_measures.h"
#include "server/quantization/methods/layer_quantizer.h"
#include "server/quantization/storage/weight_errors.h"
#include "tests/server/quantization/small_checkpoint.h"
#include "tests/server/quantization/small_layer.h"

namespace octet::quantization {
namespace {

using model::Scheme;
using testing::IsEmpty;

TEST(QuantizeLayer, MethodsThatNeedSamplesSaySo) {
  const SmallLayer layer(2, 8, 28);
  LayerPlan plan;
  plan.scheme.scheme = Scheme::kW8A8Dynamic;
  plan.rounding = Rounding::kGptq;
  const auto without_rows = [&] {
    return QuantizeLayer("fc.weight", layer.view(), layer.bias, plan, {},
                         nullptr);
  };
  EXPECT_THAT(without_rows(),
              FailsWith(absl::StatusCode::kFailedPrecondition,
                        "tensor 'fc.weight': error compensation needs rows"));
  plan.rounding = Rounding::kNearest;
  plan.bias_correction = true;
  EXPECT_THAT(without_rows(),
              FailsWith(absl::StatusCode::kFailedPrecondition,
                        "tensor 'fc.weight': bias correction needs rows"));
  SmallLayer silent = layer;
  std::fill(silent.x.begin(), silent.x.end(), 0.0F);
  plan.rounding = Rounding::kGptq;
  EXPECT_THAT(Quantized(silent, plan),
              FailsWith(absl::StatusCode::kFailedPrecondition,
                        "tensor 'fc.weight': the second moments"));
}

TEST(QuantizeLayer, WeightsThatCannotBeStoredAreNamed) {
  LayerPlan plan;
  plan.scheme = {Scheme::kLlmInt8, 6.0F};
  SmallLayer layer(2, 3, 29);
  layer.weight[4] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(Quantized(layer, plan),
              FailsWith(absl::StatusCode::kInvalidArgument,
                        "tensor 'fc.weight' holds NaN at index [1, 1]"));
  layer.weight[4] = 7e4F;
  plan.outlier_columns = {1};
  EXPECT_THAT(Quantized(layer, plan),
              FailsWith(absl::StatusCode::kInvalidArgument,
                        "tensor 'fc.weight' holds 70000 at index [1, 1], in "
                        "an outlier column: too large for FP16"));
}

TEST(QuantizeLayer, APlanMustFitTheLayer) {
  const SmallLayer layer(2, 3, 30);
  LayerPlan good;
  good.scheme = {Scheme::kLlmInt8, 6.0F};
  const auto expect_refused = [&](const LayerPlan& plan, const char* text) {
    EXPECT_THAT(Quantized(layer, plan),
                FailsWith(absl::StatusCode::kInvalidArgument, text));
  };
  LayerPlan plan = good;
  plan.scheme.scheme = Scheme::kFp16;
  expect_refused(plan, "scheme fp16 is not one of INT8");
  plan = good;
  plan.scheme.group_size = 33;
  expect_refused(plan, "group_size");
  plan = good;
  plan.scheme.smoothed = true;
  expect_refused(plan, "smoothing has 0 factors for 3 columns");
  plan.smoothing = {1, 1};
  expect_refused(plan, "smoothing has 2 factors for 3 columns");
  for (const float bad :
       {0.0F, -1.0F, 1e-39F, 3e38F, std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    plan.smoothing = {1, 1, bad};
    expect_refused(plan, "a smoothing factor of ");
  }
  for (const std::vector<int32_t>& bad :
       std::vector<std::vector<int32_t>>{{-1}, {3}, {1, 1}, {2, 0}}) {
    plan = good;
    plan.outlier_columns = bad;
    expect_refused(plan, "outlier column ");
  }
}

std::vector<float> Outputs(const SmallLayer& layer, const LayerPlan& plan,
                           const QuantizedLayer& quantized,
                           const std::vector<float>& x) {
  const auto int8 = kernels::Int8Linear::Create(
      SpecOf(plan, quantized, layer.n, layer.k, {}));
  EXPECT_THAT(int8, IsOk());
  std::vector<float> y(kSampleRows * layer.n);
  EXPECT_THAT(int8->Run({x.data(), kSampleRows, layer.k},
                        {y.data(), kSampleRows, layer.n}, {}),
              IsOk());
  return y;
}

// A smoothing that what makes x divides by changes nothing but who does it.
TEST(QuantizeLayer, FoldedSmoothingIsTheSameLayerOfDividedInputs) {
  const SmallLayer layer(4, 40, 31);
  for (const LayerPlan& plan : Plans(40)) {
    if (plan.smoothing.empty()) continue;
    SCOPED_TRACE(Describe(plan, layer));
    LayerPlan folded_plan = plan;
    folded_plan.scheme.smoothed = false;
    const auto fused = Quantized(layer, plan);
    const auto folded = Quantized(layer, folded_plan);
    ASSERT_THAT(fused, IsOk());
    ASSERT_THAT(folded, IsOk());
    EXPECT_THAT(folded->inverse_smoothing, IsEmpty());
    EXPECT_EQ(folded->codes, fused->codes);
    EXPECT_EQ(folded->scales, fused->scales);
    EXPECT_EQ(folded->bias, fused->bias);
    std::vector<float> divided = layer.x;
    for (size_t i = 0; i < divided.size(); ++i) {
      divided[i] *= fused->inverse_smoothing[i % layer.k];
    }
    EXPECT_EQ(Outputs(layer, folded_plan, *folded, divided),
              Outputs(layer, plan, *fused, layer.x));
    const bundle::ErrorMeasures expected =
        Int8WeightErrors(layer.view(), *fused, plan, nullptr).Result();
    const bundle::ErrorMeasures actual =
        Int8WeightErrors(layer.view(), *folded, folded_plan, nullptr).Result();
    EXPECT_EQ(actual.sqnr_db, expected.sqnr_db);
  }
}

// q, k and v, and the blocks of a weight.
TEST(QuantizeLayer, SharedCompensationChangesNothing) {
  const SmallLayer layer(5, 40, 32);
  Compensations shared;
  for (const LayerPlan& plan : Plans(40)) {
    SCOPED_TRACE(Describe(plan, layer));
    const auto alone = Quantized(layer, plan);
    ASSERT_THAT(alone, IsOk());
    const auto quantized =
        QuantizeLayer("fc.weight", layer.view(), layer.bias, plan,
                      layer.samples(), nullptr, &shared);
    ASSERT_THAT(quantized, IsOk());
    EXPECT_EQ(quantized->codes, alone->codes);
    EXPECT_EQ(quantized->bias, alone->bias);
    const auto last_rows =
        QuantizeLayer("fc.weight", layer.view().Rows(3, 2),
                      absl::MakeConstSpan(layer.bias).subspan(3), plan,
                      layer.samples(), nullptr, &shared);
    ASSERT_THAT(last_rows, IsOk());
    EXPECT_TRUE(std::equal(last_rows->codes.begin(), last_rows->codes.end(),
                           alone->codes.begin() + 3 * 40));
  }
}

TEST(Compensations, AreMadeOnceForWhatTheyDependOn) {
  const SmallLayer layer(2, 16, 33);
  const SmallLayer other(2, 16, 34);
  LayerPlan plan;
  Compensations shared;
  const auto made = [&](const SmallLayer& of) {
    const auto compensation = shared.For(of.rows(), plan, nullptr);
    EXPECT_THAT(compensation, IsOk());
    return compensation.ok() ? shared.made() : 0;
  };
  EXPECT_EQ(made(layer), 1);
  EXPECT_EQ(made(layer), 1);
  plan.scheme.scheme = Scheme::kW8A8Static;  // codes the same values
  EXPECT_EQ(made(layer), 1);
  plan.scheme.hadamard_block = 16;
  EXPECT_EQ(made(layer), 2);
  plan.smoothing.assign(16, 2.0F);
  EXPECT_EQ(made(layer), 3);
  plan.outlier_columns = {1};
  EXPECT_EQ(made(layer), 4);
  EXPECT_EQ(made(other), 5);
  EXPECT_EQ(made(layer), 6);
}

}  // namespace
}  // namespace octet::quantization
