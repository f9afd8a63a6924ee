#include "server/quantization/search/allowance.h"

#include <gtest/gtest.h>

namespace octet::quantization {
namespace {

constexpr uint64_t kCheckpoint = 4000;
constexpr uint64_t kOthers = 300;

TEST(Allowance, KeepsAFifthOfABudgetOfQualityBack) {
  const Allowance cosine({.min_mean_cosine = 0.9}, kCheckpoint, kOthers);
  EXPECT_DOUBLE_EQ(cosine.limit(), 0.8 * 0.1);
  const Allowance error({.max_relative_error = 0.1}, kCheckpoint, kOthers);
  EXPECT_DOUBLE_EQ(error.limit(), 0.8 * 0.01);
}

TEST(Allowance, OfASizeIsWhatOtherTensorsLeave) {
  const Allowance bytes({.max_bytes = 1000}, kCheckpoint, kOthers);
  EXPECT_DOUBLE_EQ(bytes.limit(), 700);
  const Allowance ratio({.max_size_ratio = 0.5}, kCheckpoint, kOthers);
  EXPECT_DOUBLE_EQ(ratio.limit(), 1700);
  EXPECT_TRUE(ratio.Holds({.mean_cosine_loss = 1.0}, 1700));
  EXPECT_FALSE(ratio.Holds({}, 1701));
}

TEST(Allowance, AMeanHoldsWithConfidence) {
  const Allowance allowed({.min_mean_cosine = 0.9}, kCheckpoint, kOthers);
  EXPECT_TRUE(allowed.Holds({.mean_cosine_loss = 0.07}, 0));
  const Harm unsure{.mean_cosine_loss = 0.07, .cosine_loss_error = 0.01};
  EXPECT_DOUBLE_EQ(allowed.Assumed(unsure), 0.07 + 1.645 * 0.01);
  EXPECT_FALSE(allowed.Holds(unsure, 0));
}

TEST(Allowance, TheWorstSampleCountsBesideTheMean) {
  const Allowance allowed({.min_mean_cosine = 0.9, .min_worst_cosine = 0.6},
                          kCheckpoint, kOthers);
  EXPECT_DOUBLE_EQ(
      allowed.Share({.mean_cosine_loss = 0.04, .worst_cosine = 0.9}), 0.5);
  const Harm far{.mean_cosine_loss = 0.04, .worst_cosine = -0.2};
  EXPECT_DOUBLE_EQ(allowed.Share(far), 3.0);
  EXPECT_FALSE(allowed.Holds(far, 0));
  EXPECT_TRUE(
      allowed.Holds({.mean_cosine_loss = 0.04, .worst_cosine = 0.6}, 0));
}

TEST(Allowance, AWorstOfOneLeavesAShareThatIsANumber) {
  const Allowance allowed({.min_mean_cosine = 0.9, .min_worst_cosine = 1.0},
                          kCheckpoint, kOthers);
  EXPECT_EQ(allowed.Share({.worst_cosine = 1.0}), 0.0);
  EXPECT_GT(allowed.Share({.worst_cosine = 0.9}), 1.0);
}

}  // namespace
}  // namespace octet::quantization
