#include "server/quantization/search/search_report.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "server/quantization/search/allowance.h"
#include "server/quantization/search/candidates.h"
#include "server/quantization/storage/budget_report.h"

namespace octet::quantization {
namespace {

constexpr int kPredictedPoints = 16;
constexpr double kMicroseconds = 1e6;
constexpr size_t kNamedLayers = 3;

// "'encoder.layer.0.output.dense' (31 %), ..": those that harm most.
std::string LayersInTheWay(const std::vector<SearchItem>& items,
                           const std::vector<size_t>& chosen) {
  std::vector<std::pair<double, std::string>> shares;
  double sum = 0.0;
  for (size_t i = 0; i < items.size(); ++i) {
    const double harm = items[i].RelativeSquare(items[i].trials[chosen[i]]);
    sum += harm;
    shares.emplace_back(harm, items[i].linears.front()->layer);
  }
  std::sort(shares.begin(), shares.end(), std::greater<>());
  shares.resize(std::min(shares.size(), kNamedLayers));
  return absl::StrJoin(shares, ", ", [&](std::string* out, const auto& share) {
    absl::StrAppendFormat(out, "'%s' (%.0f %%)", share.second,
                          sum > 0.0 ? 100.0 * share.first / sum : 0.0);
  });
}

// Size and speed of a plan, and its error if errors of layers just add up.
bundle::FrontierPoint PredictedPoint(const std::vector<SearchItem>& items,
                                     const std::vector<size_t>& chosen) {
  bundle::FrontierPoint point;
  double loss = 0.0;
  double square = 0.0;
  for (size_t i = 0; i < items.size(); ++i) {
    const Trial& trial = items[i].trials[chosen[i]];
    point.stored_bytes += trial.stored_bytes();
    point.microseconds += kMicroseconds * trial.seconds();
    loss += items[i].CosineLoss(trial);
    square += items[i].RelativeSquare(trial);
  }
  point.mean_row_cosine = 1.0 - loss;
  point.relative_error = std::sqrt(square);
  size_t int8 = 0;
  size_t all = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    const Trial& trial = items[i].trials[chosen[i]];
    all += trial.layers.size();
    if (model::IsInt8(trial.request.scheme)) int8 += trial.layers.size();
  }
  point.name = absl::StrFormat("%d of %d layers in INT8", int8, all);
  return point;
}

// From the tightest limit that a plan keeps to, to that of the loosest plan.
std::pair<double, double> Limits(
    const std::vector<std::vector<Option>>& options) {
  double least = 0.0;
  double most = 0.0;
  for (const std::vector<Option>& item : options) {
    double smallest = std::numeric_limits<double>::infinity();
    double largest = 0.0;
    for (const Option& option : item) {
      smallest = std::min(smallest, option.use);
      largest = std::max(largest, option.use);
    }
    least += smallest;
    most += largest;
  }
  return {least, most};
}

}  // namespace

bundle::FrontierPoint MeasuredPoint(const std::vector<SearchItem>& items,
                                    const std::vector<size_t>& chosen,
                                    const Harm& harm) {
  bundle::FrontierPoint point = PredictedPoint(items, chosen);
  point.mean_row_cosine = 1.0 - harm.mean_cosine_loss;
  point.relative_error = std::sqrt(harm.relative_square);
  point.measured = true;
  return point;
}

void AddPredictedPoints(const std::vector<SearchItem>& items,
                        const std::vector<std::vector<Option>>& options,
                        Measure measure,
                        std::vector<bundle::FrontierPoint>& frontier) {
  const auto [least, most] = Limits(options);
  // Errors span orders of magnitude, bytes do not.
  const double low = std::max(least, 1e-6 * most);
  std::set<std::vector<size_t>> seen;
  for (int i = 0; i < kPredictedPoints; ++i) {
    const double share = static_cast<double>(i) / (kPredictedPoints - 1);
    const double limit = measure == Measure::kBytes
                             ? least + share * (most - least)
                             : low * std::pow(most / low, share);
    const auto chosen = Choose(options, limit * (1.0 + 1e-9));
    if (!chosen || !seen.insert(*chosen).second) continue;
    frontier.push_back(PredictedPoint(items, *chosen));
  }
}

std::vector<bundle::CandidateReport> DescribeCandidates(const SearchItem& item,
                                                        size_t layer,
                                                        size_t chosen) {
  std::vector<bundle::CandidateReport> candidates;
  for (size_t t = 0; t < item.trials.size(); ++t) {
    const Trial& trial = item.trials[t];
    const TriedLayer& tried = trial.layers[layer];
    candidates.push_back({
        .name = Describe(trial.request),
        .scheme = tried.plan.scheme.scheme,
        .output_error = tried.output,
        .stored_bytes = tried.stored_bytes,
        .microseconds = kMicroseconds * tried.seconds,
        .chosen = t == chosen,
    });
  }
  return candidates;
}

absl::Status NoPlanHolds(const std::vector<SearchItem>& items,
                         const std::vector<size_t>& nearest, const Harm& harm,
                         model::Scheme float_scheme) {
  return absl::FailedPreconditionError(absl::StrFormat(
      "no plan keeps to the budget: the best reaches a mean cosine of %.6f "
      "(%.6f with 95 %% confidence), a worst of %.6f and a relative error of "
      "%.6f on %d samples that calibration kept. Most of its error comes "
      "from %s. Relax the budget, calibrate on more samples%s",
      1.0 - harm.mean_cosine_loss, 1.0 - MostCosineLoss(harm),
      harm.worst_cosine, std::sqrt(harm.relative_square), harm.rows,
      LayersInTheWay(items, nearest),
      float_scheme == model::Scheme::kFp32
          ? "."
          : ", or keep float layers in FP32."));
}

void SearchResult::AddTo(bundle::QuantizationReport& report) const {
  for (bundle::LayerReport& layer : report.layers) {
    const auto found = candidates.find(layer.layer);
    if (found == candidates.end()) continue;
    layer.candidates = found->second;
  }
  report.policy = "auto";
  report.frontier = frontier;
  for (bundle::FrontierPoint& point : report.frontier) {
    if (!point.chosen) continue;
    point.stored_bytes = report.linear_stored_bytes;
    point.mean_row_cosine = report.mean_row_cosine;
    point.relative_error = RelativeError(report.model);
  }
  report.verified_plans = verified_plans;
  report.tuned_rows = tuned_rows;
  report.speed_rows = kSpeedRows;
  report.speed_kernel = speed_kernel;
}

}  // namespace octet::quantization
