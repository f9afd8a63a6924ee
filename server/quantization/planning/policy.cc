#include "server/quantization/planning/policy.h"

#include <fnmatch.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"
#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/quantization/calibration/input_groups.h"

namespace octet::quantization {
namespace {

using model::Linear;
using model::StrCat;

// K codes and a 4-byte scale against K values of 16 bits.
constexpr size_t kFewestInputs = 4;
// Far more than any layer name needs; bounds the work of matching.
constexpr size_t kMaxPatternBytes = 256;

bool Matches(const std::string& pattern, const std::string& layer) {
  return fnmatch(pattern.c_str(), layer.c_str(), 0) == 0;
}

const std::string* FindMatch(const std::vector<std::string>& patterns,
                             const std::string& layer) {
  const auto found =
      std::find_if(patterns.begin(), patterns.end(),
                   [&](const std::string& p) { return Matches(p, layer); });
  return found == patterns.end() ? nullptr : &*found;
}

absl::Status CheckPattern(const model::Graph& graph, std::string_view field,
                          const std::string& pattern) {
  if (pattern.size() > kMaxPatternBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: a pattern of %d bytes; at most %d are accepted",
                        field, pattern.size(), kMaxPatternBytes));
  }
  for (const Linear* linear : graph.Linears()) {
    if (Matches(pattern, linear->layer)) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrFormat(
      "%s: pattern '%s' matches no linear layer of the model", field, pattern));
}

absl::Status CheckPatterns(const model::Graph& graph,
                           const PlanRequest& request) {
  for (const std::string& pattern : request.include) {
    RETURN_IF_ERROR(CheckPattern(graph, "include", pattern));
  }
  for (const std::string& pattern : request.exclude) {
    RETURN_IF_ERROR(CheckPattern(graph, "exclude", pattern));
  }
  for (const PlanRequest::Override& override : request.overrides) {
    RETURN_IF_ERROR(CheckPattern(graph, "overrides", override.pattern));
  }
  return absl::OkStatus();
}

// A number in (low, high].
absl::Status CheckNumber(std::string_view field, std::optional<double> value,
                         double low, double high) {
  if (!value || (*value > low && *value <= high)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "%s: %g is not above %g and at most %g", field, *value, low, high));
}

absl::Status CheckBudget(const PlanRequest& request) {
  const Budget& budget = request.budget;
  const int limits = static_cast<int>(budget.min_mean_cosine.has_value()) +
                     static_cast<int>(budget.max_relative_error.has_value()) +
                     static_cast<int>(budget.max_bytes.has_value()) +
                     static_cast<int>(budget.max_size_ratio.has_value());
  if (request.policy == Policy::kFixed) {
    if (limits == 0 && !budget.min_worst_cosine) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "budget: only policy 'auto' keeps to one; set the policy or leave the "
        "budget out");
  }
  if (limits != 1) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "budget: policy 'auto' needs exactly one of min_mean_cosine, "
        "max_relative_error, max_bytes and max_size_ratio; %d are set",
        limits));
  }
  // 1 would be a budget that not even 16-bit weights keep to.
  constexpr double kBelowOne = 1.0 - 1e-9;
  RETURN_IF_ERROR(CheckNumber("budget.min_mean_cosine", budget.min_mean_cosine,
                              0.0, kBelowOne));
  RETURN_IF_ERROR(CheckNumber("budget.min_worst_cosine",
                              budget.min_worst_cosine, -1.0, kBelowOne));
  RETURN_IF_ERROR(CheckNumber("budget.max_relative_error",
                              budget.max_relative_error, 0.0, 1.0));
  RETURN_IF_ERROR(
      CheckNumber("budget.max_size_ratio", budget.max_size_ratio, 0.0, 1.0));
  if (budget.max_bytes == uint64_t{0}) {
    return absl::InvalidArgumentError("budget.max_bytes: must be above 0");
  }
  return absl::OkStatus();
}

absl::Status CheckMethods(std::string_view field, const Methods& methods) {
  if (!(methods.smoothing_alpha >= 0.0 && methods.smoothing_alpha <= 1.0)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s.smoothing_alpha: %g is not from 0 to 1", field,
                        methods.smoothing_alpha));
  }
  const absl::Status percentile = CheckPercentile(methods.percentile);
  if (!percentile.ok()) {
    return absl::InvalidArgumentError(
        StrCat(field, ".", std::string(percentile.message())));
  }
  const absl::Status scheme =
      model::Validate({.scheme = model::Scheme::kW8A8Dynamic,
                       .group_size = methods.group_size,
                       .hadamard_block = methods.hadamard_block});
  if (scheme.ok()) return scheme;
  return absl::InvalidArgumentError(
      StrCat(field, ".", std::string(scheme.message())));
}

absl::Status CheckRequest(const model::Graph& graph,
                          const PlanRequest& request) {
  if (model::IsInt8(request.float_scheme)) {
    return absl::InvalidArgumentError(
        StrCat("float_scheme: '", model::Name(request.float_scheme),
               "' is not a float scheme; choose 'fp32', 'bf16' or 'fp16'"));
  }
  if (!(request.outlier_threshold > 0.0) ||
      request.outlier_threshold > std::numeric_limits<float>::max()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("outlier_threshold: %g is not a positive number",
                        request.outlier_threshold));
  }
  RETURN_IF_ERROR(CheckMethods("methods", request.methods));
  if (request.policy == Policy::kAuto && request.methods != Methods()) {
    return absl::InvalidArgumentError(
        "methods: policy 'auto' chooses them itself; leave them out, or fix "
        "those of single layers by overrides");
  }
  for (size_t i = 0; i < request.overrides.size(); ++i) {
    RETURN_IF_ERROR(
        CheckMethods(StrCat("overrides[", i, "].methods"),
                     request.overrides[i].methods.Over(request.methods)));
  }
  RETURN_IF_ERROR(CheckBudget(request));
  return CheckPatterns(graph, request);
}

struct Place {
  bool is_first = false;
  bool is_last = false;
};

LayerRequest StaysFloat(const PlanRequest& request, std::string reason) {
  return {.scheme = request.float_scheme,
          .methods = {},
          .reason = std::move(reason)};
}

LayerRequest WithoutOverrides(const PlanRequest& request, const Linear& linear,
                              Place place) {
  if (const std::string* match = FindMatch(request.exclude, linear.layer)) {
    return StaysFloat(request, StrCat("excluded by '", *match, "'"));
  }
  if (!request.include.empty() &&
      FindMatch(request.include, linear.layer) == nullptr) {
    return StaysFloat(request, "matches no include pattern");
  }
  if (request.keep_first && place.is_first) {
    return StaysFloat(request, "first linear is kept in float");
  }
  if (request.keep_last && place.is_last) {
    return StaysFloat(request, "last linear is kept in float");
  }
  LayerRequest layer{.scheme = request.scheme,
                     .methods = request.methods,
                     .reason = {},
                     .is_free = request.policy == Policy::kAuto};
  if (!model::IsInt8(request.scheme)) {
    layer.reason = StrCat("scheme '", model::Name(request.scheme), "'");
  } else if (linear.in_features < kFewestInputs) {
    return StaysFloat(
        request,
        absl::StrFormat(
            "%d inputs: codes and scale would be larger than 16-bit weights",
            linear.in_features));
  }
  return layer;
}

LayerRequest ResolveLayer(const PlanRequest& request, const Linear& linear,
                          Place place) {
  LayerRequest layer = WithoutOverrides(request, linear, place);
  const auto match = std::find_if(
      request.overrides.rbegin(), request.overrides.rend(),
      [&](const auto& o) { return Matches(o.pattern, linear.layer); });
  if (match == request.overrides.rend()) return layer;
  layer.is_free = false;
  if (match->scheme) {
    layer.scheme = *match->scheme;
    layer.reason = model::IsInt8(layer.scheme)
                       ? ""
                       : StrCat("override '", match->pattern, "'");
  }
  if (model::IsInt8(layer.scheme)) {
    layer.methods = match->methods.Over(request.methods);
  }
  return layer;
}

}  // namespace

Methods MethodsOverride::Over(Methods methods) const {
  methods.smoothing = smoothing.value_or(methods.smoothing);
  methods.smoothing_alpha = smoothing_alpha.value_or(methods.smoothing_alpha);
  methods.hadamard_block = hadamard_block.value_or(methods.hadamard_block);
  methods.group_size = group_size.value_or(methods.group_size);
  methods.rounding = rounding.value_or(methods.rounding);
  methods.bias_correction = bias_correction.value_or(methods.bias_correction);
  methods.calibrator = calibrator.value_or(methods.calibrator);
  methods.percentile = percentile.value_or(methods.percentile);
  return methods;
}

absl::StatusOr<std::map<std::string, LayerRequest>> ResolveRequest(
    const model::Graph& graph, const PlanRequest& request) {
  RETURN_IF_ERROR(CheckRequest(graph, request));
  const std::vector<InputGroup> groups = GroupByInput(graph);
  const std::vector<const Linear*> linears = graph.Linears();
  std::map<std::string, LayerRequest> layers;
  for (const InputGroup& group : groups) {
    for (const Linear* linear : group) {
      const Place place{.is_first = &group == &groups.front(),
                        .is_last = linear == linears.back()};
      layers[linear->layer] = ResolveLayer(request, *linear, place);
    }
  }
  return layers;
}

std::vector<AlikeLinears> SplitByRequest(
    const InputGroup& group,
    const std::map<std::string, LayerRequest>& requests) {
  std::vector<AlikeLinears> parts;
  for (const Linear* linear : group) {
    const LayerRequest& request = requests.find(linear->layer)->second;
    const auto same =
        std::find_if(parts.begin(), parts.end(), [&](const auto& part) {
          return part.request.is_free == request.is_free &&
                 part.request.scheme == request.scheme &&
                 part.request.methods == request.methods;
        });
    if (same != parts.end()) {
      same->linears.push_back(linear);
    } else {
      parts.push_back({request, {linear}});
    }
  }
  return parts;
}

}  // namespace octet::quantization
