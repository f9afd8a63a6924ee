#include "server/quantization/methods/error_measures.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

namespace octet::quantization {
namespace {

constexpr double kInfiniteDb = std::numeric_limits<double>::infinity();

bundle::ErrorMeasures Measure(const std::vector<float>& expected,
                              const std::vector<float>& actual) {
  ErrorAccumulator errors;
  errors.Add(expected, actual);
  return errors.Result();
}

TEST(ErrorAccumulator, FollowsTheFormulas) {
  const bundle::ErrorMeasures m = Measure({3.0F, 4.0F}, {3.0F, 3.5F});
  EXPECT_NEAR(m.sqnr_db, 10.0 * std::log10(25.0 / 0.25), 1e-12);
  EXPECT_NEAR(m.cosine, 23.0 / (5.0 * std::sqrt(21.25)), 1e-12);
  EXPECT_EQ(m.max_error, 0.5);
}

TEST(ErrorAccumulator, ExactIsInfinitelyGood) {
  const bundle::ErrorMeasures m = Measure({1.0F, -2.0F}, {1.0F, -2.0F});
  EXPECT_EQ(m.sqnr_db, kInfiniteDb);
  EXPECT_EQ(m.cosine, 1.0);
  EXPECT_EQ(m.max_error, 0.0);
}

TEST(ErrorAccumulator, ZerosAreDefined) {
  EXPECT_EQ(Measure({0.0F}, {0.0F}).cosine, 1.0);
  EXPECT_EQ(Measure({0.0F}, {1.0F}).sqnr_db, -kInfiniteDb);
  EXPECT_EQ(Measure({0.0F}, {1.0F}).cosine, 0.0);
  EXPECT_EQ(Measure({1.0F}, {0.0F}).cosine, 0.0);
  EXPECT_EQ(Measure({}, {}).cosine, 1.0);
}

TEST(ErrorAccumulator, PiecesAddUp) {
  ErrorAccumulator errors;
  errors.Add({1.0F}, {1.5F});
  errors.Add({2.0F}, {1.0F});
  const bundle::ErrorMeasures whole = Measure({1.0F, 2.0F}, {1.5F, 1.0F});
  EXPECT_DOUBLE_EQ(errors.Result().sqnr_db, whole.sqnr_db);
  EXPECT_DOUBLE_EQ(errors.Result().cosine, whole.cosine);
  EXPECT_DOUBLE_EQ(errors.Result().max_error, whole.max_error);
}

TEST(ErrorAccumulator, LargestFloatsDoNotOverflow) {
  const float largest = std::numeric_limits<float>::max();
  const bundle::ErrorMeasures m = Measure({largest}, {-largest});
  EXPECT_DOUBLE_EQ(m.cosine, -1.0);
  EXPECT_NEAR(m.sqnr_db, 10.0 * std::log10(0.25), 1e-9);
}

}  // namespace
}  // namespace octet::quantization
