#include "kernels/onednn_gemm.h"

#include <gtest/gtest.h>

#include "tests/kernels_float/test_data.h"

namespace octet::kernels {
namespace {

// The promise the adapter is there for: whatever M is, and wherever a row
// stands in it, its bits are the same.
TEST(OneDnnGemm, ARowHasTheSameBitsInEveryM) {
  for (const auto& [n, k] : std::vector<std::pair<size_t, size_t>>{
           {384, 384}, {37, 100}, {384, 1536}, {5, 7}}) {
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

}  // namespace
}  // namespace octet::kernels
