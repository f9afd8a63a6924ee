#include "kernels/half.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/finite.h"
#include "kernels/rounding.h"

namespace octet::kernels {
namespace {

// The value of an FP16, from the definition.
double ValueOf(uint16_t bits) {
  const int exponent = (bits >> 10) & 0x1f;
  const int fraction = bits & 0x3ff;
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == 31) {
    return fraction == 0 ? sign * HUGE_VAL
                         : std::numeric_limits<double>::quiet_NaN();
  }
  const double magnitude = exponent == 0
                               ? std::ldexp(fraction, -24)
                               : std::ldexp(1024 + fraction, exponent - 25);
  return sign * magnitude;
}

TEST(Fp16, EveryPatternHasItsValueAndComesBack) {
  for (uint32_t i = 0; i <= 0xffff; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    const double value = ValueOf(bits);
    const float converted = Fp16ToFloat(bits);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(converted)) << i;
      ASSERT_TRUE(std::isnan(Fp16ToFloat(FloatToFp16(converted)))) << i;
    } else {
      ASSERT_EQ(converted, value) << i;
      ASSERT_EQ(FloatToFp16(converted), bits) << i;
    }
  }
}

TEST(Fp16, RoundsHalfToEven) {
  // Between each pair of neighbours: below, at and above the middle.
  for (uint16_t bits = 0; bits < 0x7bff; ++bits) {
    const float low = Fp16ToFloat(bits);
    const auto above = static_cast<uint16_t>(bits + 1);
    const float high = Fp16ToFloat(above);
    const float middle = (low + high) / 2;
    ASSERT_EQ(FloatToFp16(middle), bits % 2 == 0 ? bits : above) << bits;
    ASSERT_EQ(FloatToFp16(std::nextafter(middle, low)), bits) << bits;
    ASSERT_EQ(FloatToFp16(std::nextafter(middle, high)), above) << bits;
  }
  EXPECT_EQ(FloatToFp16(65519.0F), 0x7bff);
  EXPECT_EQ(FloatToFp16(65520.0F), 0x7c00);
  EXPECT_EQ(FloatToFp16(-1e30F), 0xfc00);
}

TEST(Bf16, RoundsHalfToEven) {
  EXPECT_EQ(FloatToBf16(1.0F), 0x3f80);
  EXPECT_EQ(FloatToBf16(std::bit_cast<float>(0x3f808000)), 0x3f80);
  EXPECT_EQ(FloatToBf16(std::bit_cast<float>(0x3f818000)), 0x3f82);
  EXPECT_EQ(FloatToBf16(std::bit_cast<float>(0x3f808001)), 0x3f81);
  EXPECT_EQ(FloatToBf16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_TRUE(
      std::isnan(Bf16ToFloat(FloatToBf16(std::bit_cast<float>(0x7f800001)))));
  for (uint32_t i = 0; i <= 0xffff; ++i) {
    const auto bits = static_cast<uint16_t>(i);
    if (std::isnan(Bf16ToFloat(bits))) continue;
    ASSERT_EQ(FloatToBf16(Bf16ToFloat(bits)), bits);
  }
}

TEST(FirstNonFinite, FindsTheFirstOfThem) {
  std::vector<float> values(5000, 1.0F);
  EXPECT_EQ(FirstNonFinite(values), std::nullopt);
  EXPECT_EQ(FirstNonFinite({}), std::nullopt);
  values[4999] = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(FirstNonFinite(values), 4999);
  values[1025] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(FirstNonFinite(values), 1025);
  EXPECT_EQ(FirstNonFiniteFp16({0x7bff, 0xfc00, 0x7c01}), 1);
  EXPECT_EQ(FirstNonFiniteBf16({0x7f7f, 0x0001, 0xff80}), 2);
}

TEST(Rounding, TiesGoToEvenAndBoundsHold) {
  EXPECT_EQ(SymmetricCode(0.5F, 1.0F), 0);
  EXPECT_EQ(SymmetricCode(1.5F, 1.0F), 2);
  EXPECT_EQ(SymmetricCode(-2.5F, 1.0F), -2);
  EXPECT_EQ(SymmetricCode(1e38F, 10.0F), 127);
  EXPECT_EQ(SymmetricCode(-1e38F, 10.0F), -127);
  EXPECT_EQ(AffineCode(-1e38F, 10.0F, 3), 0);
  EXPECT_EQ(AffineCode(1e38F, 10.0F, 3), 255);
  EXPECT_EQ(AbsmaxToScale(0.0F), 1.0F);
  EXPECT_EQ(AbsmaxToScale(1e-44F), std::numeric_limits<float>::min());
  EXPECT_TRUE(std::isfinite(InverseScale(1e-44F)));
}

}  // namespace
}  // namespace octet::kernels
