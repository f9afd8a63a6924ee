#include "server/quantization/methods/weight_quantizer.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

using ::testing::ElementsAre;

struct CodedWeight {
  std::vector<int8_t> codes;
  std::vector<float> scales;
};

CodedWeight Coded(const std::vector<float>& values, size_t rows) {
  const size_t k = values.size() / rows;
  CodedWeight weight{std::vector<int8_t>(values.size()),
                     std::vector<float>(rows)};
  for (size_t n = 0; n < rows; ++n) {
    const absl::Span<const float> row(values.data() + n * k, k);
    ScaleRow(row, 0, &weight.scales[n]);
    RoundRow(row, &weight.scales[n], 0, weight.codes.data() + n * k);
  }
  return weight;
}

TEST(WeightRow, HasAScaleOfItsOwn) {
  const CodedWeight weight =
      Coded({127.0F, -1.0F, 0.0F, 0.5F, 0.25F, -1.27F}, 2);
  EXPECT_THAT(weight.scales, ElementsAre(1.0F, 1.27F / 127.0F));
  EXPECT_THAT(weight.codes, ElementsAre(127, -1, 0, 50, 25, -127));
}

TEST(WeightRow, RoundsHalfToEven) {
  const CodedWeight weight =
      Coded({127.0F, 0.5F, 1.5F, 2.5F, -0.5F, -1.5F, -2.5F}, 1);
  EXPECT_THAT(weight.codes, ElementsAre(127, 0, 2, 2, 0, -2, -2));
}

TEST(WeightRow, ErrsByAtMostHalfAStep) {
  constexpr size_t kRows = 20;
  constexpr size_t kCols = 33;
  const std::vector<float> values = RandomValues(kRows * kCols, 5);
  const CodedWeight weight = Coded(values, kRows);
  for (size_t i = 0; i < values.size(); ++i) {
    const double scale = weight.scales[i / kCols];
    EXPECT_NEAR(scale * weight.codes[i], values[i], 0.5001 * scale);
    EXPECT_NE(weight.codes[i], -128);
  }
}

TEST(WeightRow, OfZerosHasScaleOne) {
  const CodedWeight weight = Coded({0.0F, -0.0F, 1.0F, 2.0F, 0.0F, 0.0F}, 3);
  EXPECT_EQ(weight.scales[0], 1.0F);
  EXPECT_EQ(weight.scales[2], 1.0F);
  EXPECT_THAT(weight.codes, ElementsAre(0, 0, 64, 127, 0, 0));
}

TEST(WeightRow, OfDenormalsIsDefined) {
  const float denormal = std::numeric_limits<float>::denorm_min();
  const CodedWeight weight = Coded({denormal, -denormal}, 1);
  EXPECT_EQ(weight.scales[0], std::numeric_limits<float>::min());
  EXPECT_THAT(weight.codes, ElementsAre(0, 0));
}

TEST(WeightRow, LargestValuesDoNotOverflow) {
  const float largest = std::numeric_limits<float>::max();
  const CodedWeight weight = Coded({largest, -largest}, 1);
  EXPECT_THAT(weight.codes, ElementsAre(127, -127));
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
