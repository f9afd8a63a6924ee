#include "server/quantization/weight_quantizer.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/half.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

using ::testing::ElementsAre;

absl::StatusOr<QuantizedWeight> Quantized(const std::vector<float>& values,
                                          size_t rows) {
  return QuantizeWeight("w", {values.data(), rows, values.size() / rows},
                        nullptr);
}

TEST(QuantizeWeight, OneScalePerOutputChannel) {
  const auto weight = Quantized({127.0F, -1.0F, 0.0F, 0.5F, 0.25F, -1.27F}, 2);
  ASSERT_THAT(weight, IsOk());
  EXPECT_THAT(weight->scales, ElementsAre(1.0F, 1.27F / 127.0F));
  EXPECT_THAT(weight->codes, ElementsAre(127, -1, 0, 50, 25, -127));
  EXPECT_EQ(weight->zero_channels, 0);
}

TEST(QuantizeWeight, RoundsHalfToEven) {
  const auto weight =
      Quantized({127.0F, 0.5F, 1.5F, 2.5F, -0.5F, -1.5F, -2.5F}, 1);
  ASSERT_THAT(weight, IsOk());
  EXPECT_THAT(weight->codes, ElementsAre(127, 0, 2, 2, 0, -2, -2));
}

TEST(QuantizeWeight, ErrorIsAtMostHalfAStep) {
  constexpr size_t kRows = 20;
  constexpr size_t kCols = 33;
  const std::vector<float> values = RandomValues(kRows * kCols, 5);
  const auto weight = Quantized(values, kRows);
  ASSERT_THAT(weight, IsOk());
  for (size_t i = 0; i < values.size(); ++i) {
    const double scale = weight->scales[i / kCols];
    EXPECT_NEAR(scale * weight->codes[i], values[i], 0.5001 * scale);
    EXPECT_NE(weight->codes[i], -128);
  }
}

TEST(QuantizeWeight, AllZeroChannelsAreCountedAndHaveScaleOne) {
  const auto weight = Quantized({0.0F, -0.0F, 1.0F, 2.0F, 0.0F, 0.0F}, 3);
  ASSERT_THAT(weight, IsOk());
  EXPECT_EQ(weight->zero_channels, 2);
  EXPECT_EQ(weight->scales[0], 1.0F);
  EXPECT_EQ(weight->scales[2], 1.0F);
  EXPECT_THAT(weight->codes, ElementsAre(0, 0, 64, 127, 0, 0));
}

TEST(QuantizeWeight, DenormalChannelsAreDefined) {
  const float denormal = std::numeric_limits<float>::denorm_min();
  const auto weight = Quantized({denormal, -denormal}, 1);
  ASSERT_THAT(weight, IsOk());
  EXPECT_EQ(weight->scales[0], std::numeric_limits<float>::min());
  EXPECT_THAT(weight->codes, ElementsAre(0, 0));
  EXPECT_EQ(weight->zero_channels, 0);
}

TEST(QuantizeWeight, LargestValuesDoNotOverflow) {
  const float largest = std::numeric_limits<float>::max();
  const auto weight = Quantized({largest, -largest}, 1);
  ASSERT_THAT(weight, IsOk());
  EXPECT_THAT(weight->codes, ElementsAre(127, -127));
}

TEST(QuantizeWeight, NonFiniteWeightsAreNamedWithTheirIndex) {
  std::vector<float> values(6, 1.0F);
  values[4] = std::nanf("");
  EXPECT_THAT(Quantized(values, 2),
              FailsWith(absl::StatusCode::kInvalidArgument,
                        "tensor 'w' holds NaN at index [1, 1]"));
  values[4] = 1.0F;
  values[2] = -std::numeric_limits<float>::infinity();
  EXPECT_THAT(Quantized(values, 2),
              FailsWith(absl::StatusCode::kInvalidArgument,
                        "an infinity at index [0, 2]"));
}

TEST(QuantizeWeight, ThreadsChangeNothing) {
  const std::vector<float> values = RandomValues(40 * 16, 6);
  kernels::ThreadPool pool(3);
  const auto alone = Quantized(values, 40);
  const auto threaded = QuantizeWeight("w", {values.data(), 40, 16}, &pool);
  ASSERT_THAT(alone, IsOk());
  ASSERT_THAT(threaded, IsOk());
  EXPECT_EQ(alone->codes, threaded->codes);
  EXPECT_EQ(alone->scales, threaded->scales);
}

TEST(ExtractOutlierWeights, IsTransposed) {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const auto bits = ExtractOutlierWeights("w", {values.data(), 2, 3},
                                          std::vector<int32_t>{0, 2});
  ASSERT_THAT(bits, IsOk());
  std::vector<float> widened;
  for (const uint16_t half : *bits) {
    widened.push_back(kernels::Fp16ToFloat(half));
  }
  EXPECT_THAT(widened, ElementsAre(1, 4, 3, 6));
}

TEST(ExtractOutlierWeights, RefusesWhatFp16CannotHold) {
  const std::vector<float> values = {1, 2, 3, 70000};
  EXPECT_THAT(ExtractOutlierWeights("w", {values.data(), 2, 2},
                                    std::vector<int32_t>{1}),
              FailsWith(absl::StatusCode::kInvalidArgument, "[1, 1]"));
}

TEST(CheckFinite, NamesTheIndexInAnyRank) {
  std::vector<float> values(24, 0.0F);
  EXPECT_THAT(CheckFinite("t", values, {2, 3, 4}), IsOk());
  values[23] = std::numeric_limits<float>::infinity();
  EXPECT_THAT(CheckFinite("t", values, {2, 3, 4}),
              FailsWith(absl::StatusCode::kInvalidArgument, "[1, 2, 3]"));
}

}  // namespace
}  // namespace octet::quantization
