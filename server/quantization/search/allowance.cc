#include "server/quantization/search/allowance.h"

#include <algorithm>

namespace octet::quantization {
namespace {

constexpr double kUsable = 0.8;
constexpr double kOneSided95 = 1.645;
// The least of 1 - cos that a budget is taken to allow.
constexpr double kLeastLoss = 1e-9;

Measure MeasureOf(const Budget& budget) {
  if (budget.min_mean_cosine) return Measure::kMeanCosine;
  if (budget.max_relative_error) return Measure::kRelativeError;
  return Measure::kBytes;
}

double LimitOf(const Budget& budget, uint64_t checkpoint_bytes,
               uint64_t other_bytes) {
  if (budget.min_mean_cosine) return kUsable * (1.0 - *budget.min_mean_cosine);
  if (budget.max_relative_error) {
    return kUsable * *budget.max_relative_error * *budget.max_relative_error;
  }
  const double bytes =
      budget.max_bytes
          ? static_cast<double>(*budget.max_bytes)
          : *budget.max_size_ratio * static_cast<double>(checkpoint_bytes);
  return bytes - static_cast<double>(other_bytes);
}

}  // namespace

double MostCosineLoss(const Harm& harm) {
  return harm.mean_cosine_loss + kOneSided95 * harm.cosine_loss_error;
}

Allowance::Allowance(const Budget& budget, uint64_t checkpoint_bytes,
                     uint64_t other_bytes)
    : budget_(budget),
      measure_(MeasureOf(budget)),
      limit_(LimitOf(budget, checkpoint_bytes, other_bytes)) {}

double Allowance::Assumed(const Harm& harm) const {
  return measure_ == Measure::kMeanCosine ? MostCosineLoss(harm)
                                          : harm.relative_square;
}

double Allowance::Share(const Harm& harm) const {
  const double share = Assumed(harm) / limit_;
  if (!budget_.min_worst_cosine) return share;
  const double loss = std::max(kLeastLoss, 1.0 - *budget_.min_worst_cosine);
  return std::max(share, (1.0 - harm.worst_cosine) / loss);
}

bool Allowance::Holds(const Harm& harm, double bytes) const {
  if (budget_.min_worst_cosine &&
      harm.worst_cosine < *budget_.min_worst_cosine) {
    return false;
  }
  return (measure_ == Measure::kBytes ? bytes : Assumed(harm)) <= limit_;
}

}  // namespace octet::quantization
