// The epilogue: each element type is FP32's result rounded once more, by the
// rules of half.h and rounding.h; groups of K add up in their order.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/half.h"
#include "kernels/registry.h"
#include "kernels/rounding.h"
#include "tests/kernels/kernel_testing.h"

namespace octet::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Around every BF16 (so, around every FP16 too): what rounds down, up, and in
// the middle. Quiet NaNs only, for arithmetic quiets the others.
std::vector<float> EveryKindOfFloat() {
  std::vector<float> values;
  for (uint32_t upper = 0; upper < 0x10000; ++upper) {
    for (const uint32_t lower : {0x0000, 0x0001, 0x0fff, 0x1000, 0x1001, 0x3000,
                                 0x7fff, 0x8000, 0x8001, 0xf000, 0xffff}) {
      const float value = std::bit_cast<float>(upper << 16 | lower);
      values.push_back(std::isnan(value) ? std::bit_cast<float>(
                                               upper << 16 | lower | 0x400000)
                                         : value);
    }
  }
  return values;
}

class Finish : public EveryKernel {
 protected:
  // `values` through the epilogue as they are, one row and `columns` at a time.
  template <typename T>
  std::vector<T> Store(const std::vector<float>& values, ElementType type,
                       size_t columns, const CodeRule& rule = {}) {
    std::vector<T> out(values.size());
    const std::vector<float> ones(kMaxTileColumns, 1.0F);
    const std::vector<float> bias(kMaxTileColumns, -0.0F);
    const GuardedMemory memory(columns * sizeof(T), GuardedMemory::Side::kBack);
    for (size_t i = 0; i < values.size(); i += columns) {
      std::vector<float> sums(kMaxTileColumns, 0.0F);
      const size_t count = std::min(columns, values.size() - i);
      std::copy_n(values.begin() + static_cast<ptrdiff_t>(i), count,
                  sums.begin());
      T* const y = memory.As<T>() + columns - count;
      FinishTile tile;
      tile.acc = reinterpret_cast<const int32_t*>(sums.data());
      tile.acc_is_float = true;
      tile.row_scales = ones.data();
      tile.weight_scales = ones.data();
      tile.bias = bias.data();
      tile.y = y;
      tile.y_type = type;
      tile.y_codes = rule;
      tile.rows = 1;
      tile.columns = count;
      kernel().ops->finish(tile);
      std::copy_n(y, count, out.begin() + static_cast<ptrdiff_t>(i));
    }
    return out;
  }
};
OCTET_INSTANTIATE_FOR_EVERY_KERNEL(Finish);

TEST_P(Finish, SixteenBitsAreRoundedAsHalfSays) {
  const std::vector<float> values = EveryKindOfFloat();
  const auto fp16 = Store<uint16_t>(values, ElementType::kFp16, 64);
  const auto bf16 = Store<uint16_t>(values, ElementType::kBf16, 64);
  for (size_t i = 0; i < values.size(); ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(values[i]);
    ASSERT_EQ(fp16[i], FloatToFp16(values[i])) << std::hex << bits;
    ASSERT_EQ(bf16[i], FloatToBf16(values[i])) << std::hex << bits;
  }
}

TEST_P(Finish, CodesAreAffineAndNaNIsTheZeroPoint) {
  std::vector<float> values = EveryKindOfFloat();
  for (const float v : {-0.75F, -0.25F, 0.25F, 0.75F, 1.25F, 1e9F, -1e9F,
                        kInfinity, -kInfinity, 3.4e38F, -3.4e38F}) {
    values.push_back(v);
  }
  for (const float v : RandomFloats(5000, 3, 20.0F)) values.push_back(v);
  for (const int32_t zero_point : {0, 77, 128, 255}) {
    for (const float scale : {0.5F, 0.013F}) {
      const float inverse = InverseScale(scale);
      const CodeRule rule = {.inverse = inverse, .zero_point = zero_point};
      const auto codes = Store<uint8_t>(values, ElementType::kCode, 64, rule);
      for (size_t i = 0; i < values.size(); ++i) {
        const int expected = std::isnan(values[i])
                                 ? zero_point
                                 : AffineCode(values[i], inverse, zero_point);
        ASSERT_EQ(codes[i], expected) << "seed 3, " << values[i];
      }
    }
  }
}

TEST_P(Finish, AnyNumberOfColumnsGivesTheSameElements) {
  const std::vector<float> values = RandomFloats(640, 4, 50.0F);
  const CodeRule rule = {.inverse = 2.0F, .zero_point = 100};
  const auto floats = Store<float>(values, ElementType::kFp32, 64);
  EXPECT_EQ(Bits(floats), Bits(values)) << "seed 4";
  for (size_t columns = 1; columns < 64; ++columns) {
    SCOPED_TRACE("seed 4, columns " + std::to_string(columns));
    ASSERT_EQ(Bits(Store<float>(values, ElementType::kFp32, columns)),
              Bits(floats));
    ASSERT_EQ(Store<uint16_t>(values, ElementType::kFp16, columns),
              Store<uint16_t>(values, ElementType::kFp16, 64));
    ASSERT_EQ(Store<uint16_t>(values, ElementType::kBf16, columns),
              Store<uint16_t>(values, ElementType::kBf16, 64));
    ASSERT_EQ(Store<uint8_t>(values, ElementType::kCode, columns, rule),
              Store<uint8_t>(values, ElementType::kCode, 64, rule));
  }
}

// Everything at once, in the order of the formula.
TEST_P(Finish, RoundsEveryProductAndSum) {
  constexpr size_t kRows = 5;
  const auto acc = RandomIntegers<int32_t>(kRows * kMaxTileColumns, -9'000'000,
                                           9'000'000, 5);
  const std::vector<float> row_scales = RandomFloats(kRows, 6);
  const std::vector<float> scales = RandomFloats(kMaxTileColumns, 7);
  const std::vector<float> bias = RandomFloats(kMaxTileColumns, 8, 1e6F);
  const std::vector<float> outliers =
      RandomFloats(kRows * kMaxTileColumns, 9, 1e6F);
  const std::vector<float> residual =
      RandomFloats(kRows * kMaxTileColumns, 10, 1e6F);
  for (size_t columns = 1; columns <= kMaxTileColumns; ++columns) {
    SCOPED_TRACE("seeds 5 to 10, columns " + std::to_string(columns));
    std::vector<float> y(kRows * 70, 7.0F);
    FinishTile tile;
    tile.acc = acc.data();
    tile.row_scales = row_scales.data();
    tile.weight_scales = scales.data();
    tile.bias = bias.data();
    tile.outliers = outliers.data();
    tile.residual = residual.data();
    tile.residual_stride = kMaxTileColumns;
    tile.y = y.data();
    tile.y_stride = 70;
    tile.rows = kRows;
    tile.columns = columns;
    kernel().ops->finish(tile);
    for (size_t r = 0; r < kRows; ++r) {
      for (size_t c = 0; c < 70; ++c) {
        const size_t i = r * kMaxTileColumns + c;
        const float expected =
            c >= columns
                ? 7.0F
                : scales[c] * (row_scales[r] * static_cast<float>(acc[i])) +
                      outliers[i] + bias[c] + residual[i];
        ASSERT_EQ(y[r * 70 + c], expected) << r << ", " << c;
      }
    }
  }
}

TEST_P(Finish, GroupsAddUpFusedInTheirOrder) {
  constexpr size_t kRows = 3;
  constexpr size_t kWidth = 48;
  std::vector<float> sums(kRows * kMaxTileColumns, 7.0F);
  std::vector<float> expected(kRows * kMaxTileColumns, 0.0F);
  for (uint32_t group = 0; group < 4; ++group) {
    const auto acc = RandomIntegers<int32_t>(kRows * kMaxTileColumns,
                                             -4'000'000, 4'000'000, 20 + group);
    const std::vector<float> scales = RandomFloats(kWidth, 30 + group);
    kernel().ops->add_group({.acc = acc.data(),
                             .scales = scales.data(),
                             .sums = sums.data(),
                             .rows = kRows,
                             .width = kWidth,
                             .first = group == 0});
    for (size_t r = 0; r < kRows; ++r) {
      for (size_t c = 0; c < kMaxTileColumns; ++c) {
        const size_t i = r * kMaxTileColumns + c;
        expected[i] =
            c < kWidth
                ? std::fma(scales[c], static_cast<float>(acc[i]), expected[i])
                : 7.0F;
      }
    }
    ASSERT_EQ(Bits(sums), Bits(expected)) << "seeds from 20 and 30, " << group;
  }
}

}  // namespace
}  // namespace octet::kernels
