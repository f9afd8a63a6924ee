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

TEST(LayOutValues, ASlotServesAgainOnceItsValueIsReadForTheLastTime) {
  Graph graph;
  graph.input = InputKind::kFeatures;
  graph.widths = {4, 16, 8, 4};
  graph.operators = {Step(0, 1), Step(1, 2), Step(2, 3)};
  const ValueLayout layout = LayOutValues(graph, 3);
  EXPECT_EQ(layout.operators, 3);
  // 0 is free when 2 is made, 1 when 3 is.
  EXPECT_EQ(layout.slots[2], layout.slots[0]);
  EXPECT_EQ(layout.slots[3], layout.slots[1]);
  EXPECT_THAT(layout.slot_widths, ElementsAre(8, 16));
}

TEST(LayOutValues, ANormWritesOverItsInputUnlessSomebodyElseReadsIt) {
  Graph graph;
  graph.input = InputKind::kFeatures;
  graph.widths = {4, 4, 4, 4};
  graph.operators = {LayerNorm{"a", 0.0F, 0, 1}, LayerNorm{"b", 0.0F, 1, 2},
                     Step(2, 3, /*residual=*/1)};
  const ValueLayout layout = LayOutValues(graph, 3);
  EXPECT_EQ(layout.slots[1], layout.slots[0]);
  EXPECT_NE(layout.slots[2], layout.slots[1]);
  EXPECT_NE(layout.slots[3], layout.slots[2]);
  EXPECT_NE(layout.slots[3], layout.slots[1]);
}

TEST(LayOutValues, WhatComesAfterTheWantedValueIsLeftOut) {
  Graph graph;
  graph.input = InputKind::kTokens;
  graph.widths = {4, 4, 4};
  graph.operators = {Embedding{"t", "", "", 0},
                     Pooling{PoolingMode::kMean, 0, 1}, Normalize{1, 2}};
  EXPECT_EQ(LayOutValues(graph, 0).operators, 1);
  EXPECT_FALSE(LayOutValues(graph, 0).per_sequence);
  EXPECT_EQ(LayOutValues(graph, 2).operators, 3);
  EXPECT_TRUE(LayOutValues(graph, 2).per_sequence);
}

TEST(LayOutValues, CodesHaveASlotOfTheirOwnAsLongAsTheyAreRead) {
  Graph graph;
  graph.input = InputKind::kFeatures;
  graph.widths = {8, 8, 3, 8, 8};
  Linear reader = Step(2, 3);
  reader.takes_codes = true;
  graph.operators = {LayerNorm{"a", 0.0F, 0, 1, /*codes=*/2}, reader,
                     Step(3, 4, /*residual=*/1)};
  const ValueLayout layout = LayOutValues(graph, 4);
  EXPECT_EQ(layout.slots[1], layout.slots[0]);
  EXPECT_NE(layout.slots[2], layout.slots[1]);
  EXPECT_NE(layout.slots[3], layout.slots[2]);
  EXPECT_EQ(layout.slots[4], layout.slots[2]);
}

TEST(CodedValue, CodesAndScalesFitTheRoom) {
  for (const size_t width : {1, 3, 4, 5, 64}) {
    for (const size_t rows : {1, 2, 7}) {
      std::vector<float> room(rows * CodedValue::FloatsFor(width));
      const CodedValue coded({room.data(), rows, room.size() / rows}, width);
      const auto* codes_end = coded.codes.row(rows - 1) + width;
      EXPECT_LE(codes_end, reinterpret_cast<uint8_t*>(coded.scales.data()));
      EXPECT_EQ(coded.scales.size(), rows);
      EXPECT_LE(coded.scales.data() + rows, room.data() + room.size());
    }
  }
}

TEST(Values, LiveValuesDoNotOverlap) {
  Graph graph;
  graph.input = InputKind::kFeatures;
  graph.widths = {3, 5};
  graph.operators = {Step(0, 1)};
  const ValueLayout layout = LayOutValues(graph, 1);
  Values values;
  values.Reset(graph, layout, 7);
  const auto x = values.Make(0, 7);
  const auto y = values.Make(1, 7);
  EXPECT_EQ(y.rows, 7);
  EXPECT_EQ(y.cols, 5);
  EXPECT_GE(y.data, x.data + 7 * 3);
  EXPECT_LE(reinterpret_cast<char*>(y.data + 7 * 5),
            reinterpret_cast<char*>(x.data) + values.bytes());
  EXPECT_EQ(values.at(1).data, y.data);
}

TEST(Values, WhatLiesElsewhereIsReadAndMadeThere) {
  Graph graph;
  graph.input = InputKind::kFeatures;
  graph.widths = {4, 16, 8};
  graph.operators = {Step(0, 1), Step(1, 2)};
  const ValueLayout layout = LayOutValues(graph, 2);
  const std::vector<float> input(2 * 4);
  std::vector<float> output(2 * 8);
  Values values;
  for (int run = 0; run < 2; ++run) {
    values.Reset(graph, layout, 2);
    values.Borrow(0, {input.data(), 2, 4});
    values.PlaceAt(2, {output.data(), 2, 8});
    EXPECT_EQ(values.at(0).data, input.data());
    EXPECT_NE(values.Make(1, 2).data, input.data());
    EXPECT_EQ(values.Make(2, 2).data, output.data());
    EXPECT_EQ(values.at(2).data, output.data());
  }
  values.Reset(graph, layout, 2);
  EXPECT_NE(values.Make(2, 2).data, output.data()) << "for one run alone";
}

}  // namespace
}  // namespace octet::model
