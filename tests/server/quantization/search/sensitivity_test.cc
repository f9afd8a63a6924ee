#include "server/quantization/search/sensitivity.h"

#include <gtest/gtest.h>

#include <cmath>

namespace octet::quantization {
namespace {

model::ModelOutput Rows(kernels::AlignedVector<float> values, size_t cols) {
  model::ModelOutput output;
  output.rows = values.size() / cols;
  output.cols = cols;
  output.values = std::move(values);
  return output;
}

TEST(Compare, AModelAgainstItselfIsUnharmed) {
  const std::vector<model::ModelOutput> y = {Rows({1, 2, 3, 4}, 2)};
  const Harm harm = Compare(y, y);
  EXPECT_EQ(harm.mean_cosine_loss, 0.0);
  EXPECT_EQ(harm.relative_square, 0.0);
  EXPECT_EQ(harm.worst_cosine, 1.0);
  EXPECT_EQ(harm.rows, 2);
}

TEST(Compare, ByHandOverTwoBatches) {
  // Cosines: 1, 0 in one batch, cos 45 degrees in the other.
  const Harm harm = Compare({Rows({1, 0, 0, 2}, 2), Rows({3, 0}, 2)},
                            {Rows({2, 0, 2, 0}, 2), Rows({3, 3}, 2)});
  const double third = 1.0 - std::sqrt(0.5);
  EXPECT_NEAR(harm.mean_cosine_loss, (0.0 + 1.0 + third) / 3, 1e-12);
  EXPECT_NEAR(harm.worst_cosine, 0.0, 1e-12);
  EXPECT_EQ(harm.rows, 3);
  // Errors: 1, 4 + 4, 9 of sizes 1, 4, 9.
  EXPECT_NEAR(harm.relative_square, 18.0 / 14.0, 1e-12);
  const double mean = harm.mean_cosine_loss;
  const double variance = (mean * mean + (1 - mean) * (1 - mean) +
                           (third - mean) * (third - mean)) /
                          2;
  EXPECT_NEAR(harm.cosine_loss_error, std::sqrt(variance / 3), 1e-12);
}

TEST(Compare, OneRowHasNoStandardError) {
  EXPECT_EQ(Compare({Rows({1, 0}, 2)}, {Rows({1, 1}, 2)}).cosine_loss_error,
            0.0);
}

TEST(Compare, SomethingOfNothingIsWhollyWrong) {
  EXPECT_EQ(Compare({Rows({0, 0}, 2)}, {Rows({1, 0}, 2)}).relative_square, 1.0);
}

}  // namespace
}  // namespace octet::quantization
