#include "server/rpc/quantization_spec.h"

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/rpc/calls/status.h"
#include "server/rpc/messages.h"

namespace octet::rpc {
namespace {

using model::StrCat;
using quantization::Budget;
using quantization::Calibrator;
using quantization::MethodsOverride;
using quantization::OutlierRule;
using quantization::PlanRequest;
using quantization::Policy;
using quantization::Rounding;
using quantization::Smoothing;

template <typename Wire, typename Ours, size_t kCount>
using Names = std::array<std::pair<Wire, Ours>, kCount>;

constexpr Names<v1::Policy, Policy, 2> kPolicies = {{
    {v1::POLICY_FIXED, Policy::kFixed},
    {v1::POLICY_AUTO, Policy::kAuto},
}};
constexpr Names<v1::OutlierRule, OutlierRule, 2> kOutlierRules = {{
    {v1::OUTLIER_RULE_ABSOLUTE, OutlierRule::kAbsolute},
    {v1::OUTLIER_RULE_SIGMA, OutlierRule::kSigma},
}};
constexpr Names<v1::Smoothing, Smoothing, 3> kSmoothings = {{
    {v1::SMOOTHING_NONE, Smoothing::kNone},
    {v1::SMOOTHING_ALPHA, Smoothing::kAlpha},
    {v1::SMOOTHING_SEARCH, Smoothing::kSearch},
}};
constexpr Names<v1::Rounding, Rounding, 2> kRoundings = {{
    {v1::ROUNDING_NEAREST, Rounding::kNearest},
    {v1::ROUNDING_GPTQ, Rounding::kGptq},
}};
constexpr Names<v1::Calibrator, Calibrator, 5> kCalibrators = {{
    {v1::CALIBRATOR_MIN_MAX, Calibrator::kMinMax},
    {v1::CALIBRATOR_MOVING_AVERAGE, Calibrator::kMovingAverage},
    {v1::CALIBRATOR_PERCENTILE, Calibrator::kPercentile},
    {v1::CALIBRATOR_ENTROPY, Calibrator::kEntropy},
    {v1::CALIBRATOR_MSE, Calibrator::kMse},
}};

// Nothing where the field is not set; 0 is UNSPECIFIED in every enum.
template <typename Wire, typename Ours, size_t kCount>
absl::StatusOr<std::optional<Ours>> FromEnum(
    std::string_view field, Wire value,
    const Names<Wire, Ours, kCount>& names) {
  if (static_cast<int>(value) == 0) return std::optional<Ours>();
  for (const auto& [wire, ours] : names) {
    if (wire == value) return std::optional<Ours>(ours);
  }
  return FieldViolation(
      field, StrCat(static_cast<int>(value), " is none of its values"));
}

absl::StatusOr<MethodsOverride> ParseMethods(
    std::string_view field, const v1::QuantizationMethods& methods) {
  const auto name = [&](const char* part) { return StrCat(field, part); };
  MethodsOverride out;
  ASSIGN_OR_RETURN(out.smoothing, FromEnum(name(".smoothing"),
                                           methods.smoothing(), kSmoothings));
  ASSIGN_OR_RETURN(out.rounding,
                   FromEnum(name(".rounding"), methods.rounding(), kRoundings));
  ASSIGN_OR_RETURN(
      out.calibrator,
      FromEnum(name(".calibrator"), methods.calibrator(), kCalibrators));
  if (methods.has_smoothing_alpha()) {
    out.smoothing_alpha = methods.smoothing_alpha();
  }
  if (methods.has_hadamard_block()) {
    out.hadamard_block = methods.hadamard_block();
  }
  if (methods.has_group_size()) out.group_size = methods.group_size();
  if (methods.has_bias_correction()) {
    out.bias_correction = methods.bias_correction();
  }
  if (methods.has_percentile()) out.percentile = methods.percentile();
  return out;
}

absl::StatusOr<Budget> ParseBudget(const v1::Budget& budget) {
  Budget out;
  switch (budget.limit_case()) {
    case v1::Budget::kMinMeanCosine:
      out.min_mean_cosine = budget.min_mean_cosine();
      break;
    case v1::Budget::kMaxRelativeError:
      out.max_relative_error = budget.max_relative_error();
      break;
    case v1::Budget::kMaxBytes:
      if (budget.max_bytes() <= 0) {
        return FieldViolation("spec.budget.max_bytes", "must be above 0");
      }
      out.max_bytes = static_cast<uint64_t>(budget.max_bytes());
      break;
    case v1::Budget::kMaxSizeRatio:
      out.max_size_ratio = budget.max_size_ratio();
      break;
    case v1::Budget::LIMIT_NOT_SET:
      break;
  }
  if (budget.has_min_worst_cosine()) {
    out.min_worst_cosine = budget.min_worst_cosine();
  }
  return out;
}

absl::StatusOr<PlanRequest::Override> ParseOverride(
    const std::string& field, const v1::SchemeOverride& override) {
  PlanRequest::Override out;
  out.pattern = override.pattern();
  if (override.scheme() != v1::SCHEME_UNSPECIFIED) {
    ASSIGN_OR_RETURN(out.scheme,
                     FromProto(StrCat(field, ".scheme"), override.scheme(),
                               model::Scheme::kFp32));
  }
  ASSIGN_OR_RETURN(out.methods,
                   ParseMethods(StrCat(field, ".methods"), override.methods()));
  return out;
}

}  // namespace

absl::StatusOr<PlanRequest> ParseSpec(const v1::QuantizationSpec& spec) {
  PlanRequest plan;
  ASSIGN_OR_RETURN(const auto policy,
                   FromEnum("spec.policy", spec.policy(), kPolicies));
  plan.policy = policy.value_or(plan.policy);
  ASSIGN_OR_RETURN(plan.budget, ParseBudget(spec.budget()));
  ASSIGN_OR_RETURN(plan.scheme,
                   FromProto("spec.scheme", spec.scheme(), plan.scheme));
  ASSIGN_OR_RETURN(const MethodsOverride methods,
                   ParseMethods("spec.methods", spec.methods()));
  plan.methods = methods.Over(plan.methods);
  ASSIGN_OR_RETURN(
      plan.float_scheme,
      FromProto("spec.float_scheme", spec.float_scheme(), plan.float_scheme));
  if (model::IsInt8(plan.float_scheme)) {
    return FieldViolation("spec.float_scheme", "must be FP32, BF16 or FP16");
  }
  plan.include.assign(spec.include().begin(), spec.include().end());
  plan.exclude.assign(spec.exclude().begin(), spec.exclude().end());
  plan.keep_first = spec.keep_first();
  plan.keep_last = spec.keep_last();
  for (int i = 0; i < spec.overrides_size(); ++i) {
    ASSIGN_OR_RETURN(
        auto override,
        ParseOverride(StrCat("spec.overrides[", i, "]"), spec.overrides(i)));
    plan.overrides.push_back(std::move(override));
  }
  ASSIGN_OR_RETURN(
      const auto rule,
      FromEnum("spec.outlier_rule", spec.outlier_rule(), kOutlierRules));
  plan.outlier_rule = rule.value_or(plan.outlier_rule);
  if (spec.outlier_threshold() != 0) {
    plan.outlier_threshold = spec.outlier_threshold();
  }
  return plan;
}

}  // namespace octet::rpc
