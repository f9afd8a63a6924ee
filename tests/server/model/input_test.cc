#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "server/model/model.h"

namespace octet::model {
namespace {

using testing::HasSubstr;

Graph TokenGraph() {
  Graph graph;
  graph.family = "bert";
  graph.input = InputKind::kTokens;
  graph.vocabulary = 20;
  graph.max_positions = 4;
  return graph;
}

Graph FeatureGraph() {
  Graph graph;
  graph.family = "mlp";
  graph.input = InputKind::kFeatures;
  graph.input_width = 3;
  return graph;
}

ModelInput Tokens(std::vector<int32_t> ids, std::vector<int32_t> lengths) {
  ModelInput input;
  input.token_ids = std::move(ids);
  input.lengths = std::move(lengths);
  return input;
}

ModelInput Features(std::vector<float> values, size_t rows) {
  ModelInput input;
  input.features = std::move(values);
  input.feature_rows = rows;
  return input;
}

void ExpectRefused(const Graph& graph, const ModelInput& input,
                   const std::string& message) {
  const absl::Status status = ValidateInput(graph, input);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(message));
}

TEST(ValidateInput, AcceptsRaggedSequences) {
  EXPECT_TRUE(
      ValidateInput(TokenGraph(), Tokens({0, 19, 5, 1, 2}, {1, 4})).ok());
}

TEST(ValidateInput, NamesTheTokenAndTheLimit) {
  ExpectRefused(TokenGraph(), Tokens({0, 20}, {2}),
                "tokens.ids[1]: is 20; the vocabulary has ids from 0 to 19");
  ExpectRefused(TokenGraph(), Tokens({-1}, {1}), "tokens.ids[0]: is -1");
}

TEST(ValidateInput, NamesTheSequenceAndTheLimit) {
  ExpectRefused(TokenGraph(), Tokens({1}, {1, 0}),
                "tokens.lengths[1]: is 0; it must be at least 1");
  ExpectRefused(TokenGraph(), Tokens({1}, {-2147483647}),
                "tokens.lengths[0]: is -2");
  ExpectRefused(TokenGraph(), Tokens({1, 1, 1, 1, 1}, {5}),
                "tokens.lengths[0]: is 5; the model takes at most 4 tokens");
  ExpectRefused(TokenGraph(), Tokens({1, 1, 1}, {2}),
                "tokens.lengths: add up to 2; tokens.ids has 3");
  ExpectRefused(TokenGraph(), Tokens({}, {}), "tokens.lengths:");
}

TEST(ValidateInput, NamesTheFeature) {
  EXPECT_TRUE(ValidateInput(FeatureGraph(), Features({1, 2, 3}, 1)).ok());
  ExpectRefused(
      FeatureGraph(),
      Features({0, 0, 0, 0, std::numeric_limits<float>::infinity(), 0}, 2),
      "features[1][1]: is inf");
  ExpectRefused(FeatureGraph(),
                Features({std::numeric_limits<float>::quiet_NaN(), 0, 0}, 1),
                "features[0][0]: is nan");
  ExpectRefused(FeatureGraph(), Features({1, 2}, 1),
                "has 2 values; 1 rows of 3 are needed");
  ExpectRefused(FeatureGraph(), Features({}, 0), "at least one row");
  ExpectRefused(FeatureGraph(),
                Features({}, std::numeric_limits<size_t>::max()),
                "rows of 3 are needed");
}

TEST(ValidateInput, TheOtherKindOfInputIsRefused) {
  ExpectRefused(TokenGraph(), Features({1, 2, 3}, 1),
                "features: the model takes tokens");
  ExpectRefused(FeatureGraph(), Tokens({1}, {1}), "takes features");
}

TEST(ValidateInput, ALinearSetHasNoForward) {
  Graph graph;
  graph.family = "linear_set";
  EXPECT_EQ(ValidateInput(graph, {}).code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace octet::model
