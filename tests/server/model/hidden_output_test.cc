#include "server/model/hidden_output.h"

#include <gtest/gtest.h>

#include <memory>

#include "server/model/importer.h"
#include "server/model/model.h"
#include "tests/server/model/tiny_bert.h"

namespace octet::model {
namespace {

std::unique_ptr<const Model> MakeBert(const ConfigFiles& configs) {
  const MemoryTensors tensors = TinyBertTensors();
  auto graph = Import(configs, tensors);
  return *Model::Create(*std::move(graph), tensors, {});
}

ModelInput ThreeSequences() {
  ModelInput input;
  input.token_ids = {3, 19, 0, 7, 7, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  input.lengths = {2, 1, 12};
  return input;
}

TEST(HiddenOutput, HasTheBitsOfForward) {
  const auto model = MakeBert(WithSentencePooling(TinyBertConfig()));
  ASSERT_TRUE(HasHiddenOutput(model->graph()));
  const ModelInput input = ThreeSequences();
  RunOptions options;
  options.output = OutputKind::kHidden;
  const auto hidden = model->Forward(input, options);
  ASSERT_TRUE(hidden.ok()) << hidden.status();
  const auto output = OutputOfHidden(model->graph(), *hidden, input.lengths);
  ASSERT_TRUE(output.ok()) << output.status();
  const auto expected = model->Forward(input, {});
  ASSERT_TRUE(expected.ok()) << expected.status();
  EXPECT_EQ(output->rows, expected->rows);
  EXPECT_EQ(output->cols, expected->cols);
  EXPECT_EQ(output->values, expected->values);
}

TEST(HiddenOutput, ThereIsNoneWithoutPooling) {
  EXPECT_FALSE(HasHiddenOutput(MakeBert(TinyBertConfig())->graph()));
}

}  // namespace
}  // namespace octet::model
