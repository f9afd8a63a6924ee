#include "server/model/values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace octet::model {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

Linear Step(ValueId input, ValueId output,
            std::optional<ValueId> residual = std::nullopt) {
  Linear linear{};
  linear.input = input;
  linear.output = output;
  linear.residual = residual;
  return linear;
}

TEST(LastReads, AResidualKeepsItsValueAlive) {
  Graph graph;
  graph.widths = {4, 4, 4, 4};
  graph.operators = {Step(0, 1), Step(1, 2), Step(2, 3, /*residual=*/0)};
  EXPECT_THAT(
      LastReads(graph, 3, /*kept=*/3),
      ElementsAre(IsEmpty(), ElementsAre(1), UnorderedElementsAre(0, 2)));
}

TEST(LastReads, AValueNobodyReadsGoesAtOnce) {
  Graph graph;
  graph.widths = {4, 4, 4};
  graph.operators = {Step(0, 1), Step(0, 2)};
  EXPECT_THAT(LastReads(graph, 2, /*kept=*/2),
              ElementsAre(ElementsAre(1), ElementsAre(0)));
}

TEST(Values, AReleasedBufferIsUsedAgain) {
  Values values(3);
  const float* first = values.Make(0, 10, 10).data;
  values.Make(1, 2, 2);
  values.Release(0);
  EXPECT_EQ(values.Make(2, 5, 5).data, first);
  EXPECT_EQ(values.at(2).rows, 5);
  EXPECT_NE(values.at(1).data, values.at(2).data);
}

}  // namespace
}  // namespace octet::model
