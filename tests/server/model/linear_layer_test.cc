#include "server/model/linear_layer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/cpu_features.h"
#include "kernels/half.h"
#include "kernels/onednn_gemm.h"
#include "server/model/str_cat.h"
#include "tests/server/model/memory_tensors.h"

namespace octet::model {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

Linear Layer() {
  Linear linear{};
  linear.layer = "fc";
  linear.has_bias = true;
  linear.in_features = 2;
  linear.out_features = 2;
  return linear;
}

// W = [[1, 2], [-3, 4]], b = [0.5, -0.5]
MemoryTensors FloatTensors() {
  MemoryTensors tensors;
  tensors.SetFloat("fc.weight", {2, 2}, {1, 2, -3, 4});
  tensors.SetFloat("fc.bias", {2}, {0.5F, -0.5F});
  return tensors;
}

// The same W: codes times scales [1/64, 1/32].
MemoryTensors Int8Tensors() {
  MemoryTensors tensors = FloatTensors();
  tensors.Set("fc.weight", DataType::kI8, {2, 2},
              std::vector<int8_t>{64, 127, -96, 127});
  tensors.SetFloat("fc.weight_scale", {2, 1}, {1.0F / 64, 1.0F / 32});
  return tensors;
}

std::vector<float> Apply(const LinearLayer& layer, std::vector<float> x) {
  std::vector<float> y(2);
  EXPECT_TRUE(layer.Run({x.data(), 1, 2}, {y.data(), 1, 2}, {}).ok());
  return y;
}

std::string ErrorOf(const LinearScheme& scheme, const MemoryTensors& tensors) {
  const auto layer = MakeLinearLayer(Layer(), scheme, tensors);
  EXPECT_FALSE(layer.ok());
  return std::string(layer.status().message());
}

TEST(MakeLinearLayer, FloatSchemesAreExactOnSmallIntegers) {
  for (const Scheme scheme : {Scheme::kFp32, Scheme::kBf16, Scheme::kFp16}) {
    SCOPED_TRACE(std::string(Name(scheme)));
    const auto layer = MakeLinearLayer(Layer(), {scheme}, FloatTensors());
    ASSERT_TRUE(layer.ok()) << layer.status();
    EXPECT_THAT(Apply(**layer, {10, 1}), ElementsAre(12.5F, -26.5F));
    EXPECT_FALSE((*layer)->kernel_name().empty());
    EXPECT_FALSE((*layer)->isa().empty());
  }
}

TEST(MakeLinearLayer, StoredTypeAndSchemeMayDiffer) {
  MemoryTensors tensors = FloatTensors();
  tensors.Set("fc.weight", DataType::kF16, {2, 2},
              std::vector<uint16_t>{0x3C00, 0x4000, 0xC200, 0x4400});
  const auto layer = MakeLinearLayer(Layer(), {Scheme::kFp32}, tensors);
  ASSERT_TRUE(layer.ok()) << layer.status();
  EXPECT_THAT(Apply(**layer, {10, 1}), ElementsAre(12.5F, -26.5F));
}

TEST(MakeLinearLayer, DynamicScalesEachRow) {
  const auto layer =
      MakeLinearLayer(Layer(), {Scheme::kW8A8Dynamic}, Int8Tensors());
  ASSERT_TRUE(layer.ok()) << layer.status();
  // x = 127 codes: [127, 64] / 127 of the row's maximum.
  const auto y = Apply(**layer, {12.7F, 6.4F});
  EXPECT_NEAR(y[0], 12.7 * 64 / 64 + 6.4 * 127 / 64 + 0.5, 1e-4);
  EXPECT_NEAR(y[1], 12.7 * -96 / 32 + 6.4 * 127 / 32 - 0.5, 1e-4);
}

TEST(MakeLinearLayer, StaticUsesTheStoredScaleAndZeroPoint) {
  MemoryTensors tensors = Int8Tensors();
  tensors.SetFloat("fc.input_scale", {1}, {0.5F});
  tensors.Set("fc.input_zero_point", DataType::kI8, {1},
              std::vector<int8_t>{-118});  // 10 as u8
  const auto layer = MakeLinearLayer(Layer(), {Scheme::kW8A8Static}, tensors);
  ASSERT_TRUE(layer.ok()) << layer.status();
  // -100 is below the range: clamped to (0 - 10) * 0.5 = -5.
  const auto y = Apply(**layer, {3.0F, -100.0F});
  EXPECT_NEAR(y[0], 3.0 - 5.0 * 127 / 64 + 0.5, 1e-5);
}

TEST(MakeLinearLayer, OutlierColumnsGoInFloat) {
  MemoryTensors tensors = Int8Tensors();
  tensors.Set("fc.outlier_columns", DataType::kI32, {1},
              std::vector<int32_t>{1});
  tensors.Set("fc.outlier_weight", DataType::kF16, {1, 2},
              std::vector<uint16_t>{kernels::FloatToFp16(2.0F),
                                    kernels::FloatToFp16(4.0F)});
  const auto layer =
      MakeLinearLayer(Layer(), {Scheme::kLlmInt8, 6.0F}, tensors);
  ASSERT_TRUE(layer.ok()) << layer.status();
  const auto y = Apply(**layer, {1.0F, 1000.0F});
  EXPECT_NEAR(y[0], 1.0 + 2000.0 + 0.5, 1.0);
  EXPECT_NEAR(y[1], -3.0 + 4000.0 - 0.5, 2.0);
}

// Layers that say by which backend they were refused.
struct Refusals {
  LinearOptions Options() {
    LinearOptions options;
    options.int8_backend = kernels::Int8Backend::kOneDnn;
    options.on_fallback = [this](std::string_view layer,
                                 const absl::Status& why) {
      said.push_back(StrCat(layer, ": ", why.message()));
    };
    return options;
  }
  std::vector<std::string> said;
};

TEST(MakeLinearLayer, OneDnnMultipliesWhereItCanAndOctetElsewhere) {
  Refusals refusals;
  const auto asked = MakeLinearLayer(Layer(), {Scheme::kW8A8Dynamic},
                                     Int8Tensors(), refusals.Options());
  ASSERT_TRUE(asked.ok()) << asked.status();
  const auto own =
      MakeLinearLayer(Layer(), {Scheme::kW8A8Dynamic}, Int8Tensors());
  ASSERT_TRUE(own.ok()) << own.status();
  EXPECT_EQ(Apply(**asked, {12.7F, 6.4F}), Apply(**own, {12.7F, 6.4F}));
  if (kernels::OneDnnMultipliesInt8(kernels::HostFeatures())) {
    EXPECT_EQ((*asked)->kernel_name(), "onednn_brgemm_u8s8");
    EXPECT_THAT(refusals.said, testing::IsEmpty());
  } else {
    EXPECT_EQ((*asked)->kernel_name(), (*own)->kernel_name());
    EXPECT_THAT(refusals.said, ElementsAre(AllOf(HasSubstr("fc: "),
                                                 HasSubstr("AVX512-VNNI"))));
  }
}

TEST(MakeLinearLayer, GroupsOfKFallBackToOctetOnEveryCpu) {
  MemoryTensors tensors = Int8Tensors();
  LinearScheme groups = {Scheme::kW8A8Dynamic};
  groups.group_size = 32;
  Refusals refusals;
  const auto layer =
      MakeLinearLayer(Layer(), groups, tensors, refusals.Options());
  ASSERT_TRUE(layer.ok()) << layer.status();
  EXPECT_THAT((*layer)->kernel_name(), testing::StartsWith("dot_"));
  EXPECT_THAT(refusals.said, ElementsAre(HasSubstr("group")));
}

TEST(MakeLinearLayer, AWrongTensorIsNoReasonToFallBack) {
  MemoryTensors tensors = Int8Tensors();
  tensors.SetFloat("fc.weight_scale", {2, 1}, {-1.0F, 1.0F});
  Refusals refusals;
  EXPECT_FALSE(MakeLinearLayer(Layer(), {Scheme::kW8A8Dynamic}, tensors,
                               refusals.Options())
                   .ok());
  EXPECT_THAT(refusals.said, testing::IsEmpty());
}

TEST(MakeLinearLayer, ALayerWithoutOutliersNeedsNoOutlierTensors) {
  const auto layer =
      MakeLinearLayer(Layer(), {Scheme::kLlmInt8, 6.0F}, Int8Tensors());
  EXPECT_TRUE(layer.ok()) << layer.status();
}

// W = [[1, 2], [-3, 4]] of x, as weights of x * [2, 1/2].
TEST(MakeLinearLayer, SmoothedInputsMeetSmoothedWeights) {
  MemoryTensors tensors = Int8Tensors();
  tensors.Set("fc.weight", DataType::kI8, {2, 2},
              std::vector<int8_t>{8, 64, -24, 127});
  tensors.SetFloat("fc.weight_scale", {2, 1}, {1.0F / 16, 8.0F / 127});
  tensors.SetFloat("fc.inverse_smoothing", {2}, {2.0F, 0.5F});
  LinearScheme scheme = {Scheme::kW8A8Dynamic};
  scheme.smoothed = true;
  const auto layer = MakeLinearLayer(Layer(), scheme, tensors);
  ASSERT_TRUE(layer.ok()) << layer.status();
  const auto y = Apply(**layer, {10.0F, 40.0F});
  EXPECT_NEAR(y[0], 10 + 80 + 0.5, 1e-3);
  tensors.SetFloat("fc.inverse_smoothing", {2}, {2.0F, 0.0F});
  EXPECT_THAT(ErrorOf(scheme, tensors),
              HasSubstr("tensor 'fc.inverse_smoothing' has 0 at index 1"));
  tensors.Remove("fc.inverse_smoothing");
  EXPECT_THAT(ErrorOf(scheme, tensors), HasSubstr("fc.inverse_smoothing"));
}

TEST(MakeLinearLayer, RotatedInputsMeetRotatedWeights) {
  MemoryTensors tensors = Int8Tensors();
  // W H / sqrt(2) = [[3, -1], [1, -7]] / sqrt(2)
  tensors.Set("fc.weight", DataType::kI8, {2, 2},
              std::vector<int8_t>{96, -32, 18, -126});
  const float root = std::sqrt(2.0F);
  tensors.SetFloat("fc.weight_scale", {2, 1},
                   {1 / (32 * root), 1 / (18 * root)});
  LinearScheme scheme = {Scheme::kW8A8Dynamic};
  scheme.hadamard_block = 2;
  const auto layer = MakeLinearLayer(Layer(), scheme, tensors);
  ASSERT_TRUE(layer.ok()) << layer.status();
  const auto y = Apply(**layer, {127.0F, 1.0F});
  EXPECT_NEAR(y[0], 127 + 2 + 0.5, 0.5);
  EXPECT_NEAR(y[1], -381 + 4 - 0.5, 1.5);
  scheme.hadamard_block = 3;
  EXPECT_THAT(ErrorOf(scheme, tensors),
              HasSubstr("layer 'fc': hadamard_block: must be a power of two"));
}

TEST(MakeLinearLayer, EveryGroupOfInputsHasAScale) {
  Linear linear = Layer();
  linear.in_features = 33;  // groups of 32 and 1
  MemoryTensors tensors = FloatTensors();
  std::vector<int8_t> codes(66, 0);
  codes[0] = 127;
  codes[32] = 64;
  codes[33] = -127;
  tensors.Set("fc.weight", DataType::kI8, {2, 33}, codes);
  tensors.SetFloat("fc.weight_scale", {2, 2},
                   {1.0F / 127, 1.0F / 32, 2.0F / 127, 1.0F});
  LinearScheme scheme = {Scheme::kW8A8Dynamic};
  scheme.group_size = 32;
  const auto layer = MakeLinearLayer(linear, scheme, tensors);
  ASSERT_TRUE(layer.ok()) << layer.status();
  std::vector<float> x(33, 0.0F);
  x[0] = 10.0F;
  x[32] = 5.0F;
  std::vector<float> y(2);
  ASSERT_TRUE((*layer)->Run({x.data(), 1, 33}, {y.data(), 1, 2}, {}).ok());
  EXPECT_NEAR(y[0], 10 + 5 * 2 + 0.5, 0.1);
  EXPECT_NEAR(y[1], -20 - 0.5, 0.1);
  EXPECT_THAT(
      std::string(MakeLinearLayer(linear, {Scheme::kW8A8Dynamic}, tensors)
                      .status()
                      .message()),
      HasSubstr("tensor 'fc.weight_scale' has shape [2, 2]; it must "
                "be [2, 1]"));
}

TEST(MakeLinearLayer, MissingTensorsAreNamed) {
  MemoryTensors tensors = Int8Tensors();
  EXPECT_THAT(ErrorOf({Scheme::kW8A8Static}, tensors),
              HasSubstr("fc.input_scale"));
  tensors.Remove("fc.weight_scale");
  EXPECT_THAT(ErrorOf({Scheme::kW8A8Dynamic}, tensors),
              HasSubstr("fc.weight_scale"));
  tensors.Remove("fc.weight");
  EXPECT_THAT(ErrorOf({Scheme::kFp32}, tensors), HasSubstr("fc.weight"));
}

TEST(MakeLinearLayer, AScaleMustBePositiveAndFinite) {
  for (const float bad : {0.0F, -1.0F, std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()}) {
    MemoryTensors tensors = Int8Tensors();
    tensors.SetFloat("fc.weight_scale", {2, 1}, {1.0F, bad});
    EXPECT_THAT(ErrorOf({Scheme::kW8A8Dynamic}, tensors),
                AllOf(HasSubstr("tensor 'fc.weight_scale' has"),
                      HasSubstr("at index 1")));
    tensors = Int8Tensors();
    tensors.SetFloat("fc.input_scale", {1}, {bad});
    EXPECT_THAT(ErrorOf({Scheme::kW8A8Static}, tensors),
                HasSubstr("tensor 'fc.input_scale' has"));
  }
}

TEST(MakeLinearLayer, TypesAndShapesAreChecked) {
  MemoryTensors tensors = Int8Tensors();
  tensors.Set("fc.weight_scale", DataType::kF16, {2, 1},
              std::vector<uint16_t>(2, 0x3C00));
  EXPECT_THAT(
      ErrorOf({Scheme::kW8A8Dynamic}, tensors),
      HasSubstr("tensor 'fc.weight_scale' has type F16; it must be F32"));
  EXPECT_THAT(ErrorOf({Scheme::kW8A8Dynamic}, FloatTensors()),
              HasSubstr("tensor 'fc.weight' has type F32; it must be I8"));
  EXPECT_THAT(ErrorOf({Scheme::kFp32}, Int8Tensors()),
              HasSubstr("tensor 'fc.weight'"));
  tensors = Int8Tensors();
  tensors.SetFloat("fc.weight_scale", {2}, {1.0F, 1.0F});
  EXPECT_THAT(ErrorOf({Scheme::kW8A8Dynamic}, tensors),
              HasSubstr("has shape [2]; it must be [2, 1]"));
  tensors = Int8Tensors();
  tensors.SetFloat("fc.input_scale", {1}, {1.0F});
  tensors.Set("fc.input_zero_point", DataType::kU8, {1},
              std::vector<uint8_t>{1});
  EXPECT_THAT(ErrorOf({Scheme::kW8A8Static}, tensors),
              HasSubstr("tensor 'fc.input_zero_point' has type U8"));
}

TEST(MakeLinearLayer, OutlierColumnsMustRiseWithinTheLayer) {
  for (const auto& [columns, message] :
       std::vector<std::pair<std::vector<int32_t>, std::string>>{
           {{2}, "has column 2 at index 0; the layer has 2 columns"},
           {{-1}, "has column -1 at index 0"},
           {{1, 0}, "has column 0 at index 1 after column 1"},
           {{1, 1}, "has column 1 at index 1 after column 1"}}) {
    MemoryTensors tensors = Int8Tensors();
    const auto count = static_cast<int64_t>(columns.size());
    tensors.Set("fc.outlier_columns", DataType::kI32, {count}, columns);
    tensors.Set("fc.outlier_weight", DataType::kF16, {count, 2},
                std::vector<uint16_t>(2 * columns.size()));
    EXPECT_THAT(ErrorOf({Scheme::kLlmInt8, 6.0F}, tensors), HasSubstr(message));
  }
}

TEST(MakeLinearLayer, NonFiniteWeightsAreNamedByIndex) {
  MemoryTensors tensors = FloatTensors();
  tensors.SetFloat("fc.weight", {2, 2}, {1, 2, NAN, 4});
  EXPECT_THAT(ErrorOf({Scheme::kFp32}, tensors),
              HasSubstr("tensor 'fc.weight' has nan at index 2"));
  tensors = FloatTensors();
  tensors.SetFloat("fc.bias", {2}, {INFINITY, 0});
  EXPECT_THAT(ErrorOf({Scheme::kBf16}, tensors),
              HasSubstr("tensor 'fc.bias' has inf at index 0"));
  tensors = FloatTensors();
  tensors.SetFloat("fc.weight", {2, 2}, {1, 2, 3, 70000});
  EXPECT_THAT(ErrorOf({Scheme::kFp16}, tensors),
              HasSubstr("tensor 'fc.weight' has 70000 at index 3"));
}

}  // namespace
}  // namespace octet::model
