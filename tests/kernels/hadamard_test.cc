// The rotation equals the plain recursion, bit for bit, and is one.

#include "kernels/hadamard.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/registry.h"
#include "tests/kernels/kernel_testing.h"

namespace octet::kernels {
namespace {

// One block by the definition, in the order of the header.
void RotatePlainBlock(float* x, size_t block) {
  const auto scale =
      static_cast<float>(1.0 / std::sqrt(static_cast<double>(block)));
  for (size_t i = 0; i < block; ++i) x[i] *= scale;
  for (size_t d = 1; d < block; d *= 2) {
    for (size_t i = 0; i < block; ++i) {
      if (i / d % 2 != 0) continue;
      const float a = x[i];
      const float b = x[i + d];
      x[i] = a + b;
      x[i + d] = a - b;
    }
  }
}

std::vector<float> RotatedPlainly(std::vector<float> x, size_t block) {
  size_t begin = 0;
  while (begin < x.size()) {
    while (block > x.size() - begin) block /= 2;
    RotatePlainBlock(x.data() + begin, block);
    begin += block;
  }
  return x;
}

class Hadamard : public EveryKernel {
 protected:
  // In memory that ends, or begins, at a guard page.
  std::vector<float> Rotated(const std::vector<float>& x, size_t block,
                             GuardedMemory::Side side) {
    const GuardedMemory memory(x.size() * sizeof(float), side);
    std::copy(x.begin(), x.end(), memory.As<float>());
    kernel().ops->hadamard(memory.As<float>(), x.size(), block);
    return {memory.As<float>(), memory.As<float>() + x.size()};
  }
};
OCTET_INSTANTIATE_FOR_EVERY_KERNEL(Hadamard);

TEST_P(Hadamard, IsBitEqualToTheDefinition) {
  for (size_t block = 2; block <= kMaxHadamardBlock; block *= 2) {
    for (const size_t k : {1, 2, 3, 31, 64, 77, 384, 576, 1000, 1536, 2049}) {
      const auto seed = static_cast<uint32_t>(k + block);
      SCOPED_TRACE("seed " + std::to_string(seed) + ", block " +
                   std::to_string(block) + ", K " + std::to_string(k));
      const std::vector<float> x = RandomFloats(k, seed, 3.0F);
      for (const auto side :
           {GuardedMemory::Side::kFront, GuardedMemory::Side::kBack}) {
        ASSERT_EQ(Bits(Rotated(x, block, side)),
                  Bits(RotatedPlainly(x, block)));
      }
    }
  }
}

TEST_P(Hadamard, TwiceIsTheIdentity) {
  for (const auto& [k, block] :
       {std::tuple{256, 256}, {384, 128}, {1000, 256}, {130, 1024}}) {
    const std::vector<float> x = RandomFloats(k, 5);
    const std::vector<float> twice =
        Rotated(Rotated(x, block, GuardedMemory::Side::kBack), block,
                GuardedMemory::Side::kBack);
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_NEAR(twice[i], x[i], 1e-5) << "seed 5, " << i;
    }
  }
}

TEST_P(Hadamard, LeavesProductsOfRotatedRowsAsTheyWere) {
  const std::vector<float> x = RandomFloats(1000, 6);
  const std::vector<float> w = RandomFloats(1000, 7);
  const auto dot = [](const std::vector<float>& a,
                      const std::vector<float>& b) {
    double sum = 0.0;
    for (size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * b[i];
    return sum;
  };
  const auto side = GuardedMemory::Side::kBack;
  EXPECT_NEAR(dot(Rotated(x, 64, side), Rotated(w, 64, side)), dot(x, w), 1e-3)
      << "seeds 6 and 7";
}

TEST_P(Hadamard, SpreadsASingleValue) {
  std::vector<float> x(128, 0.0F);
  x[77] = 16.0F;
  for (const float v : Rotated(x, 64, GuardedMemory::Side::kBack)) {
    EXPECT_LE(std::fabs(v), 2.0F);
  }
}

TEST(HadamardRows, AreRotatedEachForItself) {
  std::vector<float> x = RandomFloats(size_t{5} * 40, 8);
  std::vector<float> expected = x;
  RotateRows({x.data(), 5, 33, 40}, 16);
  for (size_t row = 0; row < 5; ++row) {
    const auto begin = expected.begin() + static_cast<ptrdiff_t>(row * 40);
    const std::vector<float> rotated = RotatedPlainly({begin, begin + 33}, 16);
    std::copy(rotated.begin(), rotated.end(), begin);
  }
  EXPECT_EQ(Bits(x), Bits(expected)) << "seed 8";
}

TEST(HadamardRows, BlocksArePowersOfTwo) {
  for (const size_t block : {2, 32, 256, 1024}) {
    EXPECT_TRUE(IsHadamardBlock(block)) << block;
  }
  for (const size_t block : {0, 1, 3, 48, 2048}) {
    EXPECT_FALSE(IsHadamardBlock(block)) << block;
  }
}

}  // namespace
}  // namespace octet::kernels
