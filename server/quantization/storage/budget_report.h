// Whether a bundle keeps to the limits that the user set, by what was measured
// of it as it is stored.

#ifndef OCTET_SERVER_QUANTIZATION_STORAGE_BUDGET_REPORT_H_
#define OCTET_SERVER_QUANTIZATION_STORAGE_BUDGET_REPORT_H_

#include <vector>

#include "server/bundle/report.h"
#include "server/quantization/planning/policy.h"

namespace octet::quantization {

// |y - y'| / |y|.
double RelativeError(const bundle::ErrorMeasures& errors);

// `measured` has the bundle's sizes and the errors of the whole model. Of a
// model that was not measured, no limit of its errors holds.
std::vector<bundle::BudgetReport> DescribeBudgets(
    const Budget& budget, const bundle::QuantizationReport& measured);

bool HoldsAll(const std::vector<bundle::BudgetReport>& budgets);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_STORAGE_BUDGET_REPORT_H_
