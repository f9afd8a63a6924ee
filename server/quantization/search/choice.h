// One option for each item, so that what all of them cost together is least
// and what they use up together stays within a limit: the multiple-choice
// knapsack problem, by dynamic programming over the limit cut into steps.
//
//   minimize sum_i cost[i][o_i]   subject to   sum_i use[i][o_i] <= limit
//
// Uses are rounded up to steps of limit / max(4096, 256 * items), so that the
// answer always holds, and at worst leaves 1/256 of the limit unused.

#ifndef OCTET_SERVER_QUANTIZATION_SEARCH_CHOICE_H_
#define OCTET_SERVER_QUANTIZATION_SEARCH_CHOICE_H_

#include <cstddef>
#include <optional>
#include <vector>

namespace octet::quantization {

struct Option {
  double cost = 0.0;  // finite, >= 0
  double use = 0.0;   // finite, >= 0
};

// Which option of each item, or nothing where even the options of least use
// exceed the limit. Every item has an option. Of choices that cost the same,
// one of least use; of two options that serve equally, the earlier.
std::optional<std::vector<size_t>> Choose(
    const std::vector<std::vector<Option>>& items, double limit);

// Costs that are measured differ by chance: an option that is cheaper by no
// more than `share` than another of less use now costs as much as that, so that
// it is not chosen for a difference that is none.
void LevelCosts(double share, std::vector<Option>& options);

// The option of least use of each item; of several, that of least cost.
std::vector<size_t> ChooseLeastUse(
    const std::vector<std::vector<Option>>& items);

}  // namespace octet::quantization

#endif  // OCTET_SERVER_QUANTIZATION_SEARCH_CHOICE_H_
