#include "server/quantization/search/candidates.h"

#include "absl/strings/str_cat.h"
#include "server/quantization/methods/outliers.h"

namespace octet::quantization {

using model::Scheme;

namespace {

constexpr uint32_t kRotation = 256;
constexpr uint32_t kGroup = 128;

bool HasSomeOutliers(const CalibratedInput* input, const PlanRequest& request) {
  if (input == nullptr) return false;
  const LayerStatistics& statistics = input->statistics;
  double threshold = request.outlier_threshold;
  if (request.outlier_rule == OutlierRule::kSigma) {
    threshold *= statistics.sigma();
  }
  const size_t count =
      OutlierColumns(statistics, static_cast<float>(threshold)).size();
  return count > 0 &&
         static_cast<double>(count) <=
             kManyOutliers * static_cast<double>(statistics.columns());
}

}  // namespace

std::vector<LayerRequest> Candidates(size_t in_features,
                                     const CalibratedInput* input,
                                     const PlanRequest& request,
                                     Scheme float_scheme) {
  // Compensated rounding and corrected biases cost nothing when served.
  const Methods plain{.rounding = Rounding::kGptq, .bias_correction = true};
  Methods smoothed = plain;
  smoothed.smoothing = Smoothing::kSearch;
  Methods rotated = plain;
  rotated.hadamard_block = kRotation;
  std::vector<LayerRequest> all;
  // Those that code the same values come in turn: they share a Hessian.
  for (const Methods& methods : {plain, smoothed, rotated}) {
    for (const Scheme scheme : {Scheme::kW8A8Static, Scheme::kW8A8Dynamic}) {
      all.push_back({.scheme = scheme, .methods = methods, .reason = {}});
    }
  }
  if (in_features > kGroup) {
    Methods grouped = rotated;
    grouped.group_size = kGroup;
    all.push_back(
        {.scheme = Scheme::kW8A8Dynamic, .methods = grouped, .reason = {}});
  }
  if (HasSomeOutliers(input, request)) {
    all.push_back({.scheme = Scheme::kLlmInt8, .methods = plain, .reason = {}});
  }
  all.push_back({.scheme = float_scheme, .methods = {}, .reason = {}});
  return all;
}

std::string Describe(const LayerRequest& request) {
  std::string name(model::Name(request.scheme));
  if (!model::IsInt8(request.scheme)) return name;
  const Methods& methods = request.methods;
  if (methods.smoothing == Smoothing::kSearch) {
    absl::StrAppend(&name, ", smoothed");
  } else if (methods.smoothing == Smoothing::kAlpha) {
    absl::StrAppend(&name, ", smoothed by ", methods.smoothing_alpha);
  }
  if (methods.hadamard_block != 0) {
    absl::StrAppend(&name, ", rotated by ", methods.hadamard_block);
  }
  if (methods.group_size != 0) {
    absl::StrAppend(&name, ", groups of ", methods.group_size);
  }
  if (methods.rounding == Rounding::kGptq) absl::StrAppend(&name, ", gptq");
  return name;
}

}  // namespace octet::quantization
