// Microkernels and packing: int32 results equal the plain triple loop, exactly.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/linear_partition.h"
#include "kernels/microkernel.h"
#include "kernels/packed_weights.h"
#include "kernels/registry.h"
#include "tests/kernels/kernel_testing.h"

namespace octet::kernels {
namespace {

struct Problem {
  size_t m;
  size_t n;
  size_t k;
  std::vector<uint8_t> a;  // [m, k]
  std::vector<int8_t> b;   // [n, k]
  int32_t zero_point = 128;
  size_t slice_groups = std::numeric_limits<size_t>::max() / 2;

  std::string Name() const {
    return std::to_string(m) + "x" + std::to_string(n) + "x" +
           std::to_string(k);
  }
};

Problem RandomProblem(size_t m, size_t n, size_t k, uint32_t seed) {
  return {m, n, k, RandomIntegers<uint8_t>(m * k, 0, 255, seed),
          RandomIntegers<int8_t>(n * k, -128, 127, seed + 1)};
}

// One value per side everywhere.
Problem ConstantProblem(size_t m, size_t n, size_t k, int a, int b) {
  return {m, n, k, std::vector<uint8_t>(m * k, static_cast<uint8_t>(a)),
          std::vector<int8_t>(n * k, static_cast<int8_t>(b))};
}

std::vector<int32_t> Expected(const Problem& p) {
  std::vector<int32_t> acc(p.m * p.n);
  for (size_t m = 0; m < p.m; ++m) {
    for (size_t n = 0; n < p.n; ++n) {
      int64_t sum = 0;
      for (size_t k = 0; k < p.k; ++k) {
        sum += int64_t{p.a[m * p.k + k] - p.zero_point} * p.b[n * p.k + k];
      }
      acc[m * p.n + n] = static_cast<int32_t>(sum);
    }
  }
  return acc;
}

// The rows of a tile as the kernel takes them.
struct TileRows {
  TileRows(const Kernel& kernel, const Problem& p, Range rows, size_t stride,
           GuardedMemory::Side side)
      : a(rows.size() * stride * kernel.code_bytes, side),
        seeds(rows.size() * sizeof(int32_t), side) {
    for (size_t r = 0; r < rows.size(); ++r) {
      const uint8_t* codes = p.a.data() + (rows.begin + r) * p.k;
      kernel.split_row == nullptr ? Copy(kernel, codes, p.k, r, stride)
                                  : Split(kernel, codes, p, r, stride);
    }
    for (const std::vector<Excess>& row : excess_of) {
      steps = std::max(steps, row.size());
    }
    excess.resize(steps * rows.size());
    for (size_t r = 0; r < excess_of.size(); ++r) {
      for (size_t i = 0; i < excess_of[r].size(); ++i) {
        excess[i * rows.size() + r] = excess_of[r][i];
      }
    }
  }

  void Copy(const Kernel& kernel, const uint8_t* codes, size_t k, size_t r,
            size_t stride) {
    for (size_t i = 0; i < k; ++i) {
      const int code = codes[i] - kernel.code_offset;
      if (kernel.code_bytes == 1) {
        a.As<uint8_t>()[r * stride + i] = static_cast<uint8_t>(code);
      } else {
        a.As<int16_t>()[r * stride + i] = static_cast<int16_t>(code);
      }
    }
  }

  void Split(const Kernel& kernel, const uint8_t* codes, const Problem& p,
             size_t r, size_t stride) {
    const size_t padded = (p.k + kSplitStep - 1) / kSplitStep * kSplitStep;
    std::vector<uint8_t> row(codes, codes + p.k);
    row.resize(padded, static_cast<uint8_t>(p.zero_point));
    std::vector<int8_t> safe(padded);
    std::vector<Excess> more(kMostExcess * padded / kernel.kr);
    const SplitRow split = kernel.split_row(row.data(), padded, p.zero_point,
                                            safe.data(), more.data());
    std::copy_n(safe.begin(), stride, a.As<int8_t>() + r * stride);
    seeds.As<int32_t>()[r] = static_cast<int32_t>(
        -kernel.weight_offset() * static_cast<uint32_t>(split.sum));
    more.resize(split.excess);
    excess_of.push_back(std::move(more));
  }

  GuardedMemory a;
  GuardedMemory seeds;
  std::vector<std::vector<Excess>> excess_of;
  std::vector<Excess> excess;
  size_t steps = 0;
};

// Every buffer the kernel touches stands against a guard page on `side`.
std::vector<int32_t> Actual(const Kernel& kernel, const Problem& p,
                            GuardedMemory::Side side, Into into) {
  const PackedWeights weights(kernel, {p.b.data(), p.n, p.k});
  const size_t stride = weights.groups() * kernel.kr;
  std::vector<int32_t> out(p.m * p.n);
  for (size_t i = 0; i < weights.panels(); ++i) {
    const Panel panel = weights.panel(i);
    const GuardedMemory b(stride * panel.width, side);
    std::copy_n(panel.codes, stride * panel.width, b.As<int8_t>());
    const GuardedMemory seed(panel.width * sizeof(int32_t), side);
    for (size_t c = 0; c < panel.width; ++c) {
      seed.As<int32_t>()[c] = (kernel.code_offset - p.zero_point) *
                              weights.column_sums()[panel.begin + c];
    }
    const size_t tiles = kernel.TilesOf(p.m);
    for (size_t t = 0; t < tiles; ++t) {
      const size_t row = EvenParts(p.m, tiles)[t].begin;
      const size_t rows = EvenParts(p.m, tiles)[t].size();
      const TileRows tile(kernel, p, {row, row + rows}, stride, side);
      const bool split = kernel.split_row != nullptr;
      const size_t last = (rows - 1) * kMaxTileColumns + panel.width;
      const GuardedMemory acc(last * sizeof(int32_t), side);
      const size_t slice = p.slice_groups;
      for (size_t g = 0; g < weights.groups(); g += slice) {
        const bool last = slice >= weights.groups() - g;
        kernel.dot(
            {.a = tile.a.As<uint8_t>() + g * kernel.kr * kernel.code_bytes,
             .a_stride = stride * kernel.code_bytes,
             .b = b.As<int8_t>() + g * panel.width * kernel.kr,
             .groups = std::min(slice, weights.groups() - g),
             .seed = g == 0 ? seed.As<int32_t>() : acc.As<int32_t>(),
             .seed_stride = g == 0 ? 0 : kMaxTileColumns,
             .acc = acc.As<int32_t>(),
             .rows = rows,
             .width = panel.width,
             .prefetch = {.into = into},
             .row_seeds = split && g == 0 ? tile.seeds.As<int32_t>() : nullptr,
             .panel = b.As<int8_t>(),
             .excess = tile.excess.data(),
             .excess_steps = last ? tile.steps : 0});
      }
      for (size_t r = 0; r < rows; ++r) {
        for (size_t c = 0; c < panel.columns; ++c) {
          out[(row + r) * p.n + panel.begin + c] =
              acc.As<int32_t>()[r * kMaxTileColumns + c];
        }
      }
    }
  }
  return out;
}

void ExpectExact(const Kernel& kernel, const Problem& p) {
  for (const auto side :
       {GuardedMemory::Side::kFront, GuardedMemory::Side::kBack}) {
    for (const Into into : {Into::kL1, Into::kL2, Into::kL2ThenL1}) {
      ASSERT_EQ(Actual(kernel, p, side, into), Expected(p)) << p.Name();
    }
  }
}

class Dot : public EveryKernel {};
OCTET_INSTANTIATE_FOR_EVERY_KERNEL(Dot);

TEST_P(Dot, CubesOf1To15) {
  for (size_t m = 1; m <= 15; ++m) {
    for (size_t n = 1; n <= 15; ++n) {
      for (size_t k = 1; k <= 15; ++k) {
        const auto seed = static_cast<uint32_t>(m * 256 + n * 16 + k);
        SCOPED_TRACE("seed " + std::to_string(seed));
        ASSERT_NO_FATAL_FAILURE(
            ExpectExact(kernel(), RandomProblem(m, n, k, seed)));
      }
    }
  }
}

TEST_P(Dot, OneRowUpTo95) {
  for (size_t n = 1; n <= 95; n += n < 20 ? 1 : 5) {
    for (size_t k = 1; k <= 95; k += k < 20 ? 1 : 5) {
      const auto seed = static_cast<uint32_t>(n * 100 + k);
      SCOPED_TRACE("seed " + std::to_string(seed));
      ASSERT_NO_FATAL_FAILURE(
          ExpectExact(kernel(), RandomProblem(1, n, k, seed)));
    }
  }
}

TEST_P(Dot, OddLargeShapes) {
  for (const auto& [m, n, k] : {std::tuple{97, 131, 517},
                                {17, 193, 1023},
                                {6, 64, 4096},
                                {7, 64, 2051},
                                {8, 131, 4093},
                                {13, 321, 385}}) {
    SCOPED_TRACE("seed 11");
    ASSERT_NO_FATAL_FAILURE(ExpectExact(kernel(), RandomProblem(m, n, k, 11)));
  }
}

TEST_P(Dot, GoesOnFromAnEarlierResult) {
  for (const size_t m : {7, 8, 13}) {
    for (const size_t slice : {1, 5, 64}) {
      SCOPED_TRACE("seed 12, groups in a slice " + std::to_string(slice));
      Problem p = RandomProblem(m, 131, 517, 12);
      p.slice_groups = slice;
      ASSERT_NO_FATAL_FAILURE(ExpectExact(kernel(), p));
    }
  }
}

// {127, 127, 0, 0} x {127, 127, 0, 0} is where vpmaddubsw would saturate.
TEST_P(Dot, ExtremesOfBothSides) {
  for (const int zero_point : {0, 128, 255}) {
    for (const int a : {0, 127, 128, 255}) {
      for (const int b : {-128, -127, 127}) {
        SCOPED_TRACE(std::to_string(a) + " x " + std::to_string(b) +
                     ", zero point " + std::to_string(zero_point));
        Problem p = ConstantProblem(7, 70, 333, a, b);
        p.zero_point = zero_point;
        ASSERT_NO_FATAL_FAILURE(ExpectExact(kernel(), p));
      }
    }
  }
}

TEST_P(Dot, LargestExactK) {
  for (const auto& [b, k] : {std::pair{127, kMaxExactK},
                             {-127, kMaxExactK},
                             {-128, kMaxExactKWithMinimum}}) {
    for (const size_t terms : {k - 1, k}) {
      Problem p = ConstantProblem(2, 3, terms, 255, b);
      p.zero_point = 0;
      ASSERT_NO_FATAL_FAILURE(ExpectExact(kernel(), p));
    }
  }
}

TEST_P(Dot, PackingKnowsHowFarASumIsExact) {
  const std::vector<int8_t> plain = {1, -127, 127, 0};
  const std::vector<int8_t> minimum = {1, -128, 127, 0};
  EXPECT_EQ(PackedWeights(kernel(), {plain.data(), 2, 2}).max_exact_k(),
            kMaxExactK);
  EXPECT_EQ(PackedWeights(kernel(), {minimum.data(), 2, 2}).max_exact_k(),
            kMaxExactKWithMinimum);
  constexpr int64_t kLargest = 2147483647;
  EXPECT_LE(int64_t{kMaxExactK} * 255 * 127, kLargest);
  EXPECT_GT(int64_t{kMaxExactK + 1} * 255 * 127, kLargest);
  EXPECT_LE(int64_t{kMaxExactKWithMinimum} * 255 * 128, kLargest);
  EXPECT_GT(int64_t{kMaxExactKWithMinimum + 1} * 255 * 128, kLargest);
}

}  // namespace
}  // namespace octet::kernels
