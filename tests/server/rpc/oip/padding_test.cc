#include "server/rpc/oip/padding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "server/rpc/oip/outputs.h"

namespace octet::rpc::oip {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

model::Graph Tokens() {
  model::Graph graph;
  graph.input = model::InputKind::kTokens;
  graph.vocabulary = 10;
  graph.max_positions = 3;
  return graph;
}

template <typename T>
InputTensor Make(std::string_view name, std::vector<int64_t> shape,
                 const std::vector<T>& values) {
  InputTensor tensor;
  tensor.name = name;
  tensor.type = sizeof(T) == 8 ? model::DataType::kI64 : model::DataType::kI32;
  tensor.shape = std::move(shape);
  tensor.bytes = values.size() * sizeof(T);
  tensor.elements = std::string_view(
      reinterpret_cast<const char*>(values.data()), tensor.bytes);
  return tensor;
}

InputTensors IdsAndMask(const std::vector<int64_t>& ids,
                        const std::vector<int32_t>& mask) {
  InputTensors inputs;
  inputs.push_back(Make(kInputIds, {2, 4}, ids));
  inputs.push_back(Make(kAttentionMask, {2, 4}, mask));
  return inputs;
}

TEST(DecodeTokens, StripsPaddingWhateverIsUnderIt) {
  const auto batch = DecodeTokens(
      IdsAndMask({1, 2, -5, 99, 3, 4, 5, INT64_MAX}, {1, 1, 0, 0, 1, 1, 1, 0}),
      Tokens());
  ASSERT_TRUE(batch.ok()) << batch.status();
  EXPECT_THAT(batch->input.token_ids, ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(batch->input.lengths, ElementsAre(2, 3));
  EXPECT_EQ(batch->sequences, 2);
  EXPECT_EQ(batch->width, 4);
}

// An id that is in the vocabulary once 32 of its bits are gone.
TEST(DecodeTokens, RefusesIdsThatOnlyFitWhenCut) {
  const auto batch =
      DecodeTokens(IdsAndMask({1, 2, 0, 0, (int64_t{1} << 32) + 1, 0, 0, 0},
                              {1, 1, 0, 0, 1, 0, 0, 0}),
                   Tokens());
  EXPECT_THAT(batch.status().message(), HasSubstr("input_ids[1][0]: is"));
}

TEST(DecodeTokens, RefusesSequencesBeyondThePositions) {
  const auto batch = DecodeTokens(
      IdsAndMask({1, 2, 3, 4, 1, 0, 0, 0}, {1, 1, 1, 1, 1, 0, 0, 0}), Tokens());
  EXPECT_THAT(batch.status().message(),
              HasSubstr("input_ids[0]: has 4 tokens"));
}

TEST(PadRows, PutsZerosUnderTheMask) {
  model::ModelOutput rows;
  rows.rows = 3;
  rows.cols = 2;
  rows.values = {1, 2, 3, 4, 5, 6};
  EXPECT_THAT(PadRows(rows, std::vector<int32_t>{1, 2}, 3),
              ElementsAre(1, 2, 0, 0, 0, 0, 3, 4, 5, 6, 0, 0));
  EXPECT_EQ(PadRows(rows, std::vector<int32_t>{3}, 3), rows.values);
}

}  // namespace
}  // namespace octet::rpc::oip
