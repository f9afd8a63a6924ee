#include "server/quantization/methods/affine.h"

#include <cmath>
#include <limits>

#include "gtest/gtest.h"
#include "kernels/rounding.h"

namespace octet::quantization {
namespace {

constexpr float kSmallest = std::numeric_limits<float>::min();
constexpr float kDenormal = std::numeric_limits<float>::denorm_min();
constexpr float kLargest = std::numeric_limits<float>::max();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(AffineFromRange, ScaleIsTheRangeOver255) {
  const AffineParameters p = AffineFromRange(-1.0F, 1.55F);
  EXPECT_FLOAT_EQ(p.scale, 0.01F);
  EXPECT_EQ(p.zero_point, 100);
}

TEST(AffineFromRange, IsWidenedToIncludeZero) {
  EXPECT_EQ(AffineFromRange(1.0F, 2.55F), AffineFromRange(0.0F, 2.55F));
  EXPECT_EQ(AffineFromRange(1.0F, 2.55F).zero_point, 0);
  EXPECT_EQ(AffineFromRange(-2.55F, -1.0F), AffineFromRange(-2.55F, 0.0F));
  EXPECT_EQ(AffineFromRange(-2.55F, -1.0F).zero_point, 255);
}

TEST(AffineFromRange, ZeroPointIsRoundedHalfToEven) {
  // Scale 1, -min / s halfway: 127.5 -> 128 and 126.5 -> 126.
  EXPECT_EQ(AffineFromRange(-127.5F, 127.5F).zero_point, 128);
  EXPECT_EQ(AffineFromRange(-126.5F, 128.5F).zero_point, 126);
}

TEST(AffineFromRange, ConstantRangesAreDefined) {
  EXPECT_EQ(AffineFromRange(0.0F, 0.0F), (AffineParameters{1.0F, 0}));
  const AffineParameters positive = AffineFromRange(5.1F, 5.1F);
  EXPECT_FLOAT_EQ(positive.scale, 0.02F);
  EXPECT_EQ(positive.zero_point, 0);
  const AffineParameters negative = AffineFromRange(-5.1F, -5.1F);
  EXPECT_FLOAT_EQ(negative.scale, 0.02F);
  EXPECT_EQ(negative.zero_point, 255);
}

TEST(AffineFromRange, EmptyAndNonFiniteRangesAreDefined) {
  const AffineParameters neutral;
  EXPECT_EQ(AffineFromRange(kInfinity, -kInfinity), neutral);
  EXPECT_EQ(AffineFromRange(1.0F, -1.0F), neutral);
  EXPECT_EQ(AffineFromRange(-1.0F, kInfinity), neutral);
  EXPECT_EQ(AffineFromRange(std::nanf(""), 1.0F), neutral);
}

TEST(AffineFromRange, DenormalRangesKeepANormalScale) {
  const AffineParameters p = AffineFromRange(-kDenormal, kDenormal);
  EXPECT_EQ(p.scale, kSmallest);
  EXPECT_EQ(p.zero_point, 0);
  EXPECT_TRUE(std::isfinite(1.0F / p.scale));
}

TEST(AffineFromRange, TheWidestRangeDoesNotOverflow) {
  const AffineParameters p = AffineFromRange(-kLargest, kLargest);
  EXPECT_TRUE(std::isfinite(p.scale));
  EXPECT_NEAR(p.zero_point, 127.5, 0.5);
}

TEST(AffineFromRange, ZeroAndTheEndsOfTheRangeComeBack) {
  for (const auto& [min, max] : {std::pair{-0.3F, 7.7F},
                                 {-21.0F, 0.5F},
                                 {-1e-3F, 2e-3F},
                                 {-1e30F, 1e29F}}) {
    const AffineParameters p = AffineFromRange(min, max);
    const float inverse = kernels::InverseScale(p.scale);
    for (const float x : {min, 0.0F, max}) {
      const int32_t code = kernels::AffineCode(x, inverse, p.zero_point);
      EXPECT_NEAR(p.scale * (code - p.zero_point), x, 0.5001F * p.scale);
    }
    EXPECT_EQ(kernels::AffineCode(0.0F, inverse, p.zero_point), p.zero_point);
    EXPECT_EQ(kernels::AffineCode(min, inverse, p.zero_point), 0);
  }
}

TEST(AbsmaxScale, IsAbsmaxOver127) {
  EXPECT_EQ(AbsmaxScale(127.0F), 1.0F);
  EXPECT_EQ(AbsmaxScale(1.0F), 1.0F / 127.0F);
}

TEST(AbsmaxScale, NeverDividesByZero) {
  EXPECT_EQ(AbsmaxScale(0.0F), 1.0F);
  EXPECT_EQ(AbsmaxScale(kDenormal), kSmallest);
  EXPECT_EQ(AbsmaxScale(kSmallest), kSmallest);
}

}  // namespace
}  // namespace octet::quantization
