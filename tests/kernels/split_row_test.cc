// Safe pairs: codes are taken apart so that two products fit in 16 bits, and
// nothing of them is lost.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/registry.h"
#include "kernels/safe_pairs.h"
#include "tests/kernels/kernel_testing.h"

namespace octet::kernels {
namespace {

class Splitting : public EveryKernel {
 protected:
  void SetUp() override {
    EveryKernel::SetUp();
    if (!IsSkipped() && kernel().split_row == nullptr) {
      GTEST_SKIP() << kernel().name << " takes codes as they are";
    }
  }
};
OCTET_INSTANTIATE_FOR_EVERY_KERNEL(Splitting);

struct Row {
  std::vector<int8_t> a;
  std::vector<Excess> excess;
  int32_t sum;
};

// Every buffer ends where it must not be passed.
Row Split(const Kernel& kernel, const std::vector<uint8_t>& codes,
          int32_t zero_point) {
  const size_t k = codes.size();
  const GuardedMemory in(k, GuardedMemory::Side::kBack);
  std::copy(codes.begin(), codes.end(), in.As<uint8_t>());
  const GuardedMemory a(k, GuardedMemory::Side::kBack);
  const size_t most = kMostExcess * k / kernel.kr;
  const GuardedMemory excess(most * sizeof(Excess), GuardedMemory::Side::kBack);
  const SplitRow split = kernel.split_row(in.As<uint8_t>(), k, zero_point,
                                          a.As<int8_t>(), excess.As<Excess>());
  EXPECT_LE(split.excess, most);
  return {{a.As<int8_t>(), a.As<int8_t>() + k},
          {excess.As<Excess>(), excess.As<Excess>() + split.excess},
          split.sum};
}

void ExpectSafe(const int8_t* a, size_t k) {
  for (size_t i = 0; i < k; i += 2) {
    const int sum = a[i] + a[i + 1];
    ASSERT_LE(std::abs(sum), 128) << int{a[i]} << ", " << int{a[i + 1]};
  }
}

void ExpectNothingLost(const std::vector<uint8_t>& codes, int32_t zero_point,
                       const Row& row) {
  std::vector<int32_t> x(row.a.begin(), row.a.end());
  ASSERT_NO_FATAL_FAILURE(ExpectSafe(row.a.data(), row.a.size()));
  for (const Excess& excess : row.excess) {
    int8_t more[4];
    std::memcpy(more, &excess.codes, sizeof(more));
    ASSERT_NO_FATAL_FAILURE(ExpectSafe(more, 4));
    for (size_t i = 0; i < 4; ++i) x[size_t{excess.group} * 4 + i] += more[i];
  }
  for (size_t i = 0; i < codes.size(); ++i) {
    ASSERT_EQ(x[i], codes[i] - zero_point) << "code " << i;
  }
  ASSERT_EQ(row.sum, std::accumulate(x.begin(), x.end(), 0));
}

TEST_P(Splitting, LosesNothingOfAnyPairOfCodes) {
  for (const int32_t zero_point : {0, 1, 2, 64, 127, 128, 129, 200, 254, 255}) {
    SCOPED_TRACE("zero point " + std::to_string(zero_point));
    std::vector<uint8_t> codes;
    for (int first = 0; first < 256; ++first) {
      for (int second = 0; second < 256; ++second) {
        codes.push_back(static_cast<uint8_t>(first));
        codes.push_back(static_cast<uint8_t>(second));
      }
    }
    ASSERT_NO_FATAL_FAILURE(ExpectNothingLost(
        codes, zero_point, Split(kernel(), codes, zero_point)));
  }
}

TEST_P(Splitting, LosesNothingOfRandomRows) {
  for (uint32_t seed = 0; seed < 64; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const auto zero_point = static_cast<int32_t>(seed * 37 % 256);
    const auto codes =
        RandomIntegers<uint8_t>(kSplitStep * (1 + seed % 9), 0, 255, seed);
    ASSERT_NO_FATAL_FAILURE(ExpectNothingLost(
        codes, zero_point, Split(kernel(), codes, zero_point)));
  }
}

// All excess would be as exact, and slow.
TEST_P(Splitting, LeavesWhatIsSafeAsItIs) {
  const auto small = RandomIntegers<uint8_t>(4096, 128 - 64, 128 + 64, 71);
  EXPECT_TRUE(Split(kernel(), small, 128).excess.empty());
  std::vector<uint8_t> of_two_signs(4096);
  for (size_t i = 0; i < of_two_signs.size(); ++i) {
    of_two_signs[i] = i % 2 == 0 ? 255 : 1;
  }
  EXPECT_TRUE(Split(kernel(), of_two_signs, 128).excess.empty());
  // Three sigma of a normal distribution: 3 % of the pairs, in 6 % of groups.
  std::vector<uint8_t> normal;
  for (const float x : RandomFloats(4096, 72, 127.0F / 3)) {
    normal.push_back(
        static_cast<uint8_t>(128 + std::clamp(std::lround(x), -127L, 127L)));
  }
  const size_t groups = normal.size() / 4;
  const size_t excess = Split(kernel(), normal, 128).excess.size();
  EXPECT_GT(excess, groups * 5 / 100);
  EXPECT_LT(excess, groups * 8 / 100);
}

}  // namespace
}  // namespace octet::kernels
