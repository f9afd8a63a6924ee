#include "server/quantization/storage/budget_report.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

namespace octet::quantization {

double RelativeError(const bundle::ErrorMeasures& errors) {
  return std::pow(10.0, -errors.sqnr_db / 20.0);
}

std::vector<bundle::BudgetReport> DescribeBudgets(
    const Budget& budget, const bundle::QuantizationReport& measured) {
  std::vector<bundle::BudgetReport> budgets;
  const auto at_least = [&](const char* name, std::optional<double> limit,
                            double reached) {
    const bool held = measured.model_rows > 0 && limit && reached >= *limit;
    if (limit) budgets.push_back({name, *limit, reached, held});
  };
  const auto at_most = [&](const char* name, std::optional<double> limit,
                           double reached, bool known) {
    const bool held = known && limit && reached <= *limit;
    if (limit) budgets.push_back({name, *limit, reached, held});
  };
  const auto bytes = static_cast<double>(measured.bundle_bytes);
  at_least("min_mean_cosine", budget.min_mean_cosine, measured.mean_row_cosine);
  at_most("max_relative_error", budget.max_relative_error,
          RelativeError(measured.model), measured.model_rows > 0);
  at_most("max_bytes", budget.max_bytes, bytes, true);
  at_most("max_size_ratio", budget.max_size_ratio,
          bytes / static_cast<double>(measured.checkpoint_bytes), true);
  at_least("min_worst_cosine", budget.min_worst_cosine,
           measured.worst_row_cosine);
  return budgets;
}

bool HoldsAll(const std::vector<bundle::BudgetReport>& budgets) {
  return std::all_of(budgets.begin(), budgets.end(),
                     [](const auto& budget) { return budget.held; });
}

}  // namespace octet::quantization
