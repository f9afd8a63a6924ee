#include "server/quantization/search/limit_search.h"

#include <gtest/gtest.h>

#include <cmath>

namespace octet::quantization {
namespace {

// How often it takes until a plan uses 85 to 100 % of the budget, if a limit l
// leads to the share factor * l^power.
int StepsUntilUsed(double factor, double power) {
  LimitSearch search(1.0);
  for (int step = 1; step <= 20; ++step) {
    const double share = factor * std::pow(search.next(), power);
    const bool holds = share <= 1.0;
    if (holds && share > 0.85) return step;
    search.Add(share, holds);
  }
  return 99;
}

TEST(LimitSearch, FindsTheBudgetInFewSteps) {
  for (const double factor : {0.01, 0.2, 0.84, 1.01, 3.0, 50.0}) {
    for (const double power : {0.7, 0.8, 1.0, 1.3, 2.0}) {
      EXPECT_LE(StepsUntilUsed(factor, power), 6) << factor << " " << power;
    }
  }
}

TEST(LimitSearch, APlanThatFailsLowersTheLimitHoweverLittleItUses) {
  LimitSearch search(1.0);
  search.Add(0.1, /*holds=*/false);
  EXPECT_LT(search.next(), 1.0);
}

TEST(LimitSearch, StaysBetweenWhatHeldAndWhatDidNot) {
  LimitSearch search(1.0);
  search.Add(0.5, /*holds=*/true);
  const double failed = search.next();
  EXPECT_GT(failed, 1.0);
  search.Add(8.0, /*holds=*/false);
  for (int i = 0; i < 10; ++i) {
    EXPECT_GT(search.next(), 1.0);
    EXPECT_LT(search.next(), failed);
    search.Add(8.0, /*holds=*/false);
  }
}

}  // namespace
}  // namespace octet::quantization
