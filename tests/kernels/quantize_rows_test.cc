#include "kernels/quantize_rows.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/aligned_vector.h"
#include "kernels/rounding.h"
#include "tests/kernels/kernel_testing.h"

namespace octet::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

class QuantizeRows : public EveryKernel {
 protected:
  // Both buffers end at a guard page.
  MeasuredRow Quantize(const RowCoding& coding, const std::vector<float>& x) {
    const GuardedMemory in(x.size() * sizeof(float),
                           GuardedMemory::Side::kBack);
    std::copy(x.begin(), x.end(), in.As<float>());
    const size_t padded = (x.size() + 3) / 4 * 4;
    const GuardedMemory out(padded, GuardedMemory::Side::kBack);
    const MeasuredRow row =
        MeasureRow(*kernel().ops, coding, in.As<float>(), ElementType::kFp32,
                   x.size(), nullptr, nullptr);
    CodeRow(*kernel().ops, coding, row, x.size(), padded, out.As<uint8_t>());
    codes_.assign(out.As<uint8_t>(), out.As<uint8_t>() + padded);
    return row;
  }

  int Code(size_t i) const { return codes_[i] - 128; }

  std::vector<uint8_t> codes_;
};
OCTET_INSTANTIATE_FOR_EVERY_KERNEL(QuantizeRows);

TEST_P(QuantizeRows, FollowsTheRuleOfRounding) {
  for (size_t k = 1; k <= 70; ++k) {
    const auto seed = static_cast<uint32_t>(k);
    SCOPED_TRACE("seed " + std::to_string(seed));
    const std::vector<float> x = RandomFloats(k, seed);
    float absmax = 0.0F;
    for (const float value : x) absmax = std::max(absmax, std::fabs(value));
    const MeasuredRow row = Quantize({}, x);
    ASSERT_EQ(row.scale, absmax / 127.0F);
    ASSERT_FALSE(row.has_live);
    for (size_t i = 0; i < codes_.size(); ++i) {
      const int expected =
          i < k ? SymmetricCode(x[i], InverseScale(row.scale)) : 0;
      ASSERT_EQ(Code(i), expected) << i;
    }
  }
}

TEST_P(QuantizeRows, CodingAndMeasuringAtOnceIsTheSame) {
  for (size_t k = 1; k <= 150; ++k) {
    const auto seed = static_cast<uint32_t>(k);
    SCOPED_TRACE("seed " + std::to_string(seed));
    const std::vector<float> fine = RandomFloats(k, seed);
    const std::vector<float> other = RandomFloats(k, seed + 1000);
    std::vector<float> bad = fine;
    bad[k / 2] = kNaN;
    for (const auto& [x, next] : {std::pair{&fine, &other},
                                  {&other, &bad},
                                  {&bad, &fine},
                                  {&bad, &bad}}) {
      const MeasuredRow following = Quantize({}, *next);
      const MeasuredRow row = Quantize({}, *x);
      const GuardedMemory in(k * sizeof(float), GuardedMemory::Side::kBack);
      std::copy(next->begin(), next->end(), in.As<float>());
      const GuardedMemory out(codes_.size(), GuardedMemory::Side::kBack);
      const float scale =
          CodeRowAndMeasure(*kernel().ops, {}, x->data(), row.scale, k,
                            codes_.size(), out.As<uint8_t>(), in.As<float>());
      ASSERT_EQ(std::vector<uint8_t>(out.As<uint8_t>(),
                                     out.As<uint8_t>() + codes_.size()),
                codes_);
      ASSERT_EQ(std::bit_cast<uint32_t>(scale),
                std::bit_cast<uint32_t>(following.scale));
    }
  }
}

TEST_P(QuantizeRows, StaticRowsInOnePassAreTheSame) {
  for (size_t k = 1; k <= 150; ++k) {
    SCOPED_TRACE("seed " + std::to_string(k));
    RowCoding coding;
    coding.coding = ActivationCoding::kStaticAffine;
    coding.input_scale = 0.01F;  // clamps at both ends
    coding.input_zero_point = 100;
    coding.code_offset = kernel().code_offset;
    const std::vector<float> fine = RandomFloats(k, static_cast<uint32_t>(k));
    std::vector<std::vector<float>> rows(4, fine);
    rows[1][k / 2] = kNaN;
    rows[2][k - 1] = kInfinity;
    rows[3][0] = -kInfinity;
    for (const std::vector<float>& x : rows) {
      const MeasuredRow row = Quantize(coding, x);
      const GuardedMemory in(k * sizeof(float), GuardedMemory::Side::kBack);
      std::copy(x.begin(), x.end(), in.As<float>());
      const GuardedMemory out(codes_.size(), GuardedMemory::Side::kBack);
      const float scale = CodeStaticRow(*kernel().ops, coding, in.As<float>(),
                                        k, codes_.size(), out.As<uint8_t>());
      ASSERT_EQ(std::vector<uint8_t>(out.As<uint8_t>(),
                                     out.As<uint8_t>() + codes_.size()),
                codes_);
      ASSERT_EQ(std::bit_cast<uint32_t>(scale),
                std::bit_cast<uint32_t>(row.scale));
    }
  }
}

// Vectors are read where they are aligned, which is elsewhere in each row.
TEST_P(QuantizeRows, EveryValueOfBothRowsCountsWhereverTheyLie) {
  constexpr size_t kPlaces = 16;
  for (const size_t k : {63, 64, 65, 79, 128, 143, 200}) {
    const std::vector<float> x = RandomFloats(k, /*seed=*/41);
    const MeasuredRow row = Quantize({}, x);
    for (size_t place = 0; place < kPlaces * kPlaces; ++place) {
      SCOPED_TRACE("place " + std::to_string(place));
      AlignedVector<float> rows(2 * (k + kPlaces), 0.0F);
      float* current = rows.data() + place % kPlaces;
      float* next = rows.data() + k + kPlaces + place / kPlaces;
      std::copy(x.begin(), x.end(), current);
      for (size_t largest = 0; largest < k; ++largest) {
        std::vector<uint8_t> codes(codes_.size(), 1);
        next[largest] = 127.0F * static_cast<float>(largest + 1);
        const float scale =
            CodeRowAndMeasure(*kernel().ops, {}, current, row.scale, k,
                              codes.size(), codes.data(), next);
        ASSERT_EQ(scale, static_cast<float>(largest + 1));
        ASSERT_EQ(codes, codes_);
      }
    }
  }
}

TEST_P(QuantizeRows, TiesGoToEven) {
  // Scale 1 exactly: the codes are the values.
  const std::vector<float> x = {127.0F, 0.5F,  1.5F,   2.5F,  -0.5F,
                                -1.5F,  -2.5F, 126.5F, 125.5F};
  EXPECT_EQ(Quantize({}, x).scale, 1.0F);
  const int expected[] = {127, 0, 2, 2, 0, -2, -2, 126, 126};
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(Code(i), expected[i]) << i;
}

TEST_P(QuantizeRows, ZeroRowHasScaleOne) {
  EXPECT_EQ(Quantize({}, std::vector<float>(37, 0.0F)).scale, 1.0F);
  EXPECT_EQ(codes_, std::vector<uint8_t>(40, 128));
}

TEST_P(QuantizeRows, DenormalAndHugeRowsAreDefined) {
  const float smallest = std::numeric_limits<float>::min();
  EXPECT_EQ(Quantize({}, {1e-42F, -1e-42F, 0.0F}).scale, smallest);
  EXPECT_EQ(Code(0), 0);
  EXPECT_EQ(Quantize({}, {40 * smallest, -smallest, 0.0F}).scale, smallest);
  EXPECT_EQ(Code(0), 40);
  EXPECT_EQ(Code(1), -1);
  const float largest = std::numeric_limits<float>::max();
  EXPECT_EQ(Quantize({}, {largest, -largest, 1.0F}).scale, largest / 127.0F);
  EXPECT_EQ(Code(0), 127);
  EXPECT_EQ(Code(1), -127);
}

TEST_P(QuantizeRows, NonFiniteRowIsMarkedWhereverItStands) {
  for (const float bad : {kNaN, -kNaN, kInfinity, -kInfinity}) {
    for (const size_t at : {0, 15, 16, 36}) {
      std::vector<float> x = RandomFloats(37, 3);
      x[at] = bad;
      RowCoding coding;
      coding.filter.live_bits = LiveBits(6.0F);
      EXPECT_TRUE(std::isnan(Quantize({}, x).scale)) << at;
      EXPECT_TRUE(std::isnan(Quantize(coding, x).scale)) << at;
      EXPECT_EQ(codes_, std::vector<uint8_t>(40, 128));
      coding.coding = ActivationCoding::kStaticAffine;
      EXPECT_TRUE(std::isnan(Quantize(coding, x).scale)) << at;
    }
  }
}

TEST_P(QuantizeRows, StaticAffineClampsAtBothEnds) {
  RowCoding coding;
  coding.coding = ActivationCoding::kStaticAffine;
  coding.input_scale = 0.5F;
  coding.input_zero_point = 10;
  const std::vector<float> x = {0.0F, 1.0F,  0.25F, 0.75F,  -5.0F, -5.5F,
                                1e9F, -1e9F, 3e38F, 122.5F, 123.0F};
  EXPECT_EQ(Quantize(coding, x).scale, 0.5F);
  EXPECT_EQ(codes_, (std::vector<uint8_t>{10, 12, 10, 12, 0, 0, 255, 0, 255,
                                          255, 255, 10}));
}

TEST_P(QuantizeRows, OutlierColumnsDoNotCountForTheScale) {
  std::vector<float> x = RandomFloats(45, 9);
  std::vector<uint32_t> keep(x.size(), ~uint32_t{0});
  for (const size_t column : {0, 17, 44}) {
    x[column] = 100.0F;
    keep[column] = 0;
  }
  RowCoding coding;
  coding.filter.keep = keep.data();
  const MeasuredRow row = Quantize(coding, x);
  EXPECT_LT(row.scale, 5.0F / 127.0F);
  for (const size_t column : {0, 17, 44}) EXPECT_EQ(Code(column), 0);
  x[17] = kNaN;
  EXPECT_TRUE(std::isnan(Quantize(coding, x).scale));
}

TEST_P(QuantizeRows, LiveOutliersStartAtTheThreshold) {
  RowCoding coding;
  coding.filter.live_bits = LiveBits(6.0F);
  const float below = std::nextafter(6.0F, 0.0F);
  MeasuredRow row = Quantize(coding, {1.0F, below, -below});
  EXPECT_FALSE(row.has_live);
  EXPECT_EQ(row.scale, below / 127.0F);
  row = Quantize(coding, {1.0F, 6.0F, -70.0F, 0.5F, -1.0F});
  EXPECT_TRUE(row.has_live);
  EXPECT_EQ(row.scale, 1.0F / 127.0F);
  EXPECT_EQ(Code(0), 127);
  EXPECT_EQ(Code(1), 0);
  EXPECT_EQ(Code(2), 0);
  EXPECT_EQ(Code(4), -127);
  row = Quantize(coding, std::vector<float>(33, -9.0F));
  EXPECT_TRUE(row.has_live);
  EXPECT_EQ(row.scale, 1.0F);
}

// An s8 kernel reads the same codes, 128 lower.
TEST_P(QuantizeRows, CodeOffsetTurnsTheUpperBit) {
  for (const bool is_static : {false, true}) {
    RowCoding coding;
    if (is_static) {
      coding.coding = ActivationCoding::kStaticAffine;
      coding.input_scale = 0.01F;
      coding.input_zero_point = 77;
    }
    for (size_t k = 1; k <= 150; k += 7) {
      const std::vector<float> x = RandomFloats(k, 10);
      coding.code_offset = 0;
      Quantize(coding, x);
      std::vector<uint8_t> expected = codes_;
      std::vector<uint8_t> copied(codes_.size());
      coding.code_offset = 128;
      CopyCodes(coding, expected.data(), k, expected.size(), copied.data());
      for (uint8_t& code : expected) code ^= 0x80;
      Quantize(coding, x);
      EXPECT_EQ(codes_, expected) << "seed 10, K " << k;
      EXPECT_EQ(copied, expected) << "seed 10, K " << k;
    }
  }
}

}  // namespace
}  // namespace octet::kernels
