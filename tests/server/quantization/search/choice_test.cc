#include "server/quantization/search/choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

namespace octet::quantization {
namespace {

using ::testing::ElementsAre;

using Items = std::vector<std::vector<Option>>;

struct Total {
  double cost = 0.0;
  double use = 0.0;
};

Total Sum(const Items& items, const std::vector<size_t>& chosen) {
  Total total;
  for (size_t i = 0; i < items.size(); ++i) {
    total.cost += items[i][chosen[i]].cost;
    total.use += items[i][chosen[i]].use;
  }
  return total;
}

// The least cost within the limit, by trying everything.
double LeastCost(const Items& items, double limit) {
  std::vector<size_t> chosen(items.size(), 0);
  double least = std::numeric_limits<double>::infinity();
  while (true) {
    const Total total = Sum(items, chosen);
    if (total.use <= limit) least = std::min(least, total.cost);
    size_t i = 0;
    while (i < items.size() && ++chosen[i] == items[i].size()) chosen[i++] = 0;
    if (i == items.size()) return least;
  }
}

Items RandomItems(std::mt19937& random) {
  std::uniform_real_distribution<double> value(0.0, 1.0);
  Items items(1 + random() % 5);
  for (auto& options : items) {
    options.resize(1 + random() % 4);
    for (Option& option : options) option = {value(random), value(random)};
  }
  return items;
}

TEST(Choose, StaysWithinTheLimitAndCostsNoMoreThanALittleLessOfIt) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 200; ++round) {
    const Items items = RandomItems(random);
    const double limit = 0.3 * static_cast<double>(items.size());
    const auto chosen = Choose(items, limit);
    // What rounding up may leave unused.
    const double tighter = LeastCost(items, limit * (1.0 - 1.0 / 256));
    if (!chosen) {
      EXPECT_EQ(tighter, std::numeric_limits<double>::infinity());
      continue;
    }
    const Total total = Sum(items, *chosen);
    EXPECT_LE(total.use, limit);
    EXPECT_LE(total.cost, tighter + 1e-12);
    EXPECT_GE(total.cost, LeastCost(items, limit) - 1e-12);
  }
}

TEST(Choose, SaysWhenNothingFits) {
  EXPECT_EQ(Choose({{{.cost = 1, .use = 2}}, {{.cost = 1, .use = 2}}}, 3.9),
            std::nullopt);
}

TEST(Choose, TakesTheEarlierOfEquals) {
  EXPECT_THAT(*Choose({{{1, 1}, {1, 1}}, {{2, 5}, {1, 5}, {1, 5}}}, 100),
              ElementsAre(0, 1));
}

TEST(Choose, UsesOfNothingFitIntoNothing) {
  EXPECT_THAT(*Choose({{{1, 1}, {9, 0}}}, 0.0), ElementsAre(1));
}

TEST(Choose, NoItemsNeedNoChoice) { EXPECT_TRUE(Choose({}, 1.0)->empty()); }

TEST(Choose, OfWhatCostsTheSameTakesThatOfLeastUse) {
  EXPECT_THAT(*Choose({{{2, 5}, {2, 3}, {2, 4}}, {{1, 3}, {1, 2}}}, 10),
              ElementsAre(1, 1));
}

TEST(LevelCosts, AnOptionIsNotCheaperByWhatNobodyCanTell) {
  // cost, use
  std::vector<Option> options = {{100, 9}, {102, 5}, {104, 4}, {99, 12}};
  LevelCosts(0.03, options);
  EXPECT_EQ(options[0].cost, 102);  // 104 is more than 3 % above
  EXPECT_EQ(options[1].cost, 104);
  EXPECT_EQ(options[2].cost, 104);  // nothing errs less
  EXPECT_EQ(options[3].cost, 100);  // 102 is more than 3 % above
}

TEST(ChooseLeastUse, PrefersTheCheaperOfEqualUse) {
  EXPECT_THAT(ChooseLeastUse({{{9, 1}, {3, 1}, {0, 2}}, {{1, 4}}}),
              ElementsAre(1, 0));
}

}  // namespace
}  // namespace octet::quantization
