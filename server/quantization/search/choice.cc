#include "server/quantization/search/choice.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace octet::quantization {
namespace {

constexpr double kUnreachable = std::numeric_limits<double>::infinity();
constexpr size_t kFewestSteps = 4096;
constexpr size_t kStepsPerItem = 256;

// Steps that a use takes; more than `steps` where it exceeds the limit alone.
size_t StepsOf(double use, double limit, size_t steps) {
  if (use <= 0.0) return 0;
  if (use > limit) return steps + 1;
  return static_cast<size_t>(
      std::ceil(use / limit * static_cast<double>(steps)));
}

}  // namespace

void LevelCosts(double share, std::vector<Option>& options) {
  const std::vector<Option> measured = options;
  for (Option& option : options) {
    const double most = (1.0 + share) * option.cost;
    for (const Option& other : measured) {
      if (other.use < option.use && other.cost <= most) {
        option.cost = std::max(option.cost, other.cost);
      }
    }
  }
}

std::vector<size_t> ChooseLeastUse(
    const std::vector<std::vector<Option>>& items) {
  std::vector<size_t> chosen;
  for (const std::vector<Option>& options : items) {
    const auto least = std::min_element(
        options.begin(), options.end(), [](const Option& a, const Option& b) {
          return a.use != b.use ? a.use < b.use : a.cost < b.cost;
        });
    chosen.push_back(static_cast<size_t>(least - options.begin()));
  }
  return chosen;
}

std::optional<std::vector<size_t>> Choose(
    const std::vector<std::vector<Option>>& items, double limit) {
  const size_t steps = std::max(kFewestSteps, kStepsPerItem * items.size());
  // best[s]: the least cost of the items so far that use exactly s steps.
  std::vector<double> best(steps + 1, kUnreachable);
  best[0] = 0.0;
  std::vector<std::vector<uint16_t>> taken;
  for (const std::vector<Option>& options : items) {
    std::vector<double> next(steps + 1, kUnreachable);
    std::vector<uint16_t>& choice = taken.emplace_back(steps + 1, 0);
    for (size_t o = 0; o < options.size(); ++o) {
      const size_t use = StepsOf(options[o].use, limit, steps);
      for (size_t s = use; s <= steps; ++s) {
        const double cost = best[s - use] + options[o].cost;
        if (cost < next[s]) {
          next[s] = cost;
          choice[s] = static_cast<uint16_t>(o);
        }
      }
    }
    best = std::move(next);
  }
  const auto cheapest = std::min_element(best.begin(), best.end());
  if (*cheapest == kUnreachable) return std::nullopt;
  auto step = static_cast<size_t>(cheapest - best.begin());
  std::vector<size_t> chosen(items.size());
  for (size_t i = items.size(); i-- > 0;) {
    chosen[i] = taken[i][step];
    step -= StepsOf(items[i][chosen[i]].use, limit, steps);
  }
  return chosen;
}

}  // namespace octet::quantization
