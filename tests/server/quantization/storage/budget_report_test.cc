#include "server/quantization/storage/budget_report.h"

#include "gtest/gtest.h"

namespace octet::quantization {
namespace {

bundle::QuantizationReport Measured() {
  bundle::QuantizationReport report;
  report.mean_row_cosine = 0.9996;
  report.worst_row_cosine = 0.998;
  report.model.sqnr_db = 40.0;  // errors are a hundredth
  report.model_rows = 10;
  report.bundle_bytes = 250;
  report.checkpoint_bytes = 1000;
  return report;
}

void ExpectHeld(const Budget& budget, double reached, bool held) {
  const auto budgets = DescribeBudgets(budget, Measured());
  ASSERT_EQ(budgets.size(), 1);
  EXPECT_DOUBLE_EQ(budgets[0].reached, reached) << budgets[0].measure;
  EXPECT_EQ(budgets[0].held, held) << budgets[0].measure;
  EXPECT_EQ(HoldsAll(budgets), held);
}

TEST(DescribeBudgets, ALimitHoldsOrNotByWhatWasMeasured) {
  ExpectHeld({.min_mean_cosine = 0.9996}, 0.9996, true);
  ExpectHeld({.min_mean_cosine = 0.9997}, 0.9996, false);
  ExpectHeld({.min_worst_cosine = 0.998}, 0.998, true);
  ExpectHeld({.min_worst_cosine = 0.9981}, 0.998, false);
  ExpectHeld({.max_relative_error = 0.011}, 0.01, true);
  ExpectHeld({.max_relative_error = 0.009}, 0.01, false);
  ExpectHeld({.max_bytes = 250}, 250.0, true);
  ExpectHeld({.max_bytes = 249}, 250.0, false);
  ExpectHeld({.max_size_ratio = 0.25}, 0.25, true);
  ExpectHeld({.max_size_ratio = 0.24}, 0.25, false);
}

TEST(DescribeBudgets, NothingIsSaidOfErrorsThatWereNotMeasured) {
  bundle::QuantizationReport report = Measured();
  report.model_rows = 0;
  EXPECT_FALSE(HoldsAll(DescribeBudgets({.min_mean_cosine = 0.5}, report)));
  EXPECT_FALSE(HoldsAll(DescribeBudgets({.min_worst_cosine = 0.5}, report)));
  EXPECT_FALSE(HoldsAll(DescribeBudgets({.max_relative_error = 0.5}, report)));
  EXPECT_TRUE(HoldsAll(DescribeBudgets({.max_bytes = 250}, report)));
}

TEST(DescribeBudgets, OneThatDoesNotHoldIsEnough) {
  const auto budgets = DescribeBudgets(
      {.min_mean_cosine = 0.999, .min_worst_cosine = 0.999}, Measured());
  ASSERT_EQ(budgets.size(), 2);
  EXPECT_FALSE(HoldsAll(budgets));
}

}  // namespace
}  // namespace octet::quantization
