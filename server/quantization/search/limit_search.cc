#include "server/quantization/search/limit_search.h"

#include <algorithm>
#include <cmath>

namespace octet::quantization {
namespace {

// Of the budget: a plan just beyond it is of no use.
constexpr double kAim = 0.95;
// A plan that holds is not taken for less, one that does not for no more.
constexpr double kLeastShare = 1e-3;
constexpr double kFailingShare = 1.1;
// Of the way between two limits, so that each step closes in on both.
constexpr double kShortestStep = 0.1;

}  // namespace

void LimitSearch::Add(double share, bool holds) {
  if (holds) {
    held_limit_ = limit_;
    held_share_ = std::clamp(share, kLeastShare, 1.0);
  } else {
    failed_limit_ = limit_;
    failed_share_ = std::max(share, kFailingShare);
  }
  if (failed_limit_ == 0.0) {
    limit_ *= kAim / std::min(held_share_, kAim / kFailingShare);
  } else if (held_limit_ == 0.0) {
    limit_ *= kAim / failed_share_;
  } else {
    const double way =
        std::log(kAim / held_share_) / std::log(failed_share_ / held_share_);
    limit_ = held_limit_ *
             std::pow(failed_limit_ / held_limit_,
                      std::clamp(way, kShortestStep, 1.0 - kShortestStep));
  }
}

}  // namespace octet::quantization
