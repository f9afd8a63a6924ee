#include "kernels/onednn_gemm.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <vector>

#include "kernels/cpu_features.h"
#include "tests/kernels_float/test_data.h"

namespace octet::kernels {
namespace {

// The promise the adapter is there for: whatever M is, and wherever a row
// stands in it, its bits are the same.
TEST(OneDnnGemm, ARowHasTheSameBitsInEveryM) {
  for (const auto& [n, k] : std::vector<std::pair<size_t, size_t>>{
           {384, 384}, {37, 100}, {384, 1536}, {5, 7}, {64, 4096}}) {
    SCOPED_TRACE(testing::Message() << n << "x" << k);
    const TestMatrix w = Normal(n, k, 1);
    const auto gemm = OneDnnGemm::Create(w.view());
    if (gemm == nullptr) GTEST_SKIP() << "no batch-reduced kernel here";
    const TestMatrix row = Normal(1, k, 2);
    std::vector<float> expected(n);
    ASSERT_TRUE(gemm->Run(row.data.data(), 1, expected.data()));
    for (const size_t rows : {2, 3, 5, 8, 16, 31, 64, 65, 100, 130}) {
      TestMatrix x = Normal(rows, k, 3);
      for (const size_t place : {size_t{0}, rows / 2, rows - 1}) {
        std::copy(row.data.begin(), row.data.end(), x.view().row(place));
        TestMatrix y(rows, n);
        ASSERT_TRUE(gemm->Run(x.data.data(), rows, y.data.data()));
        ASSERT_EQ(BitsOf(y.view().row(place), n), BitsOf(expected.data(), n))
            << "row " << place << " of " << rows;
      }
    }
  }
}

std::vector<int32_t> Product(const std::vector<uint8_t>& x, size_t rows,
                             MatrixView<const int8_t> w) {
  std::vector<int32_t> acc(rows * w.rows, 0);
  for (size_t m = 0; m < rows; ++m) {
    for (size_t n = 0; n < w.rows; ++n) {
      for (size_t k = 0; k < w.cols; ++k) {
        acc[m * w.rows + n] += int32_t{x[m * w.cols + k]} * w.row(n)[k];
      }
    }
  }
  return acc;
}

struct Int8Case {
  size_t n;
  size_t k;
  bool extreme;  // codes 0 and 255, weights 127 and -128 only
};

// The other promise: the same integers as anybody else's, also beyond what an
// FP32 holds.
TEST(OneDnnInt8Gemm, IsExact) {
  if (!OneDnnMultipliesInt8(HostFeatures())) {
    GTEST_SKIP() << "no AVX512-VNNI here: oneDNN in INT8 is NOT TESTED";
  }
  constexpr uint32_t kSeed = 11;
  std::mt19937 random(kSeed);
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  for (const auto& [n, k, extreme] : std::vector<Int8Case>{{64, 64, false},
                                                           {5, 7, true},
                                                           {37, 100, false},
                                                           {333, 1000, true},
                                                           {1, 1, true},
                                                           {65, 4097, true},
                                                           {3, 65536, true}}) {
    SCOPED_TRACE(testing::Message() << n << "x" << k);
    std::vector<int8_t> w(n * k);
    for (int8_t& code : w) {
      code = static_cast<int8_t>(extreme ? (random() % 2 ? 127 : -128)
                                         : random() % 256);
    }
    const MatrixView<const int8_t> view(w.data(), n, k);
    const auto gemm = OneDnnInt8Gemm::Create(view);
    ASSERT_NE(gemm, nullptr);
    for (const size_t rows : {1, 2, 3, 7, 64, 67}) {
      std::vector<uint8_t> x(rows * k);
      for (uint8_t& code : x) {
        code = static_cast<uint8_t>(extreme ? random() % 2 * 255 : random());
      }
      std::vector<int32_t> acc(rows * n, -1);
      ASSERT_TRUE(gemm->Run(x.data(), rows, acc.data()));
      ASSERT_EQ(acc, Product(x, rows, view)) << rows << " rows";
    }
  }
}

}  // namespace
}  // namespace octet::kernels
