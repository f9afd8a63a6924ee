#include "server/rpc/resources/float_models.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/rpc/resources/checkpoint_graph.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::rpc {
namespace {

class FloatModelsTest : public ::testing::Test {
 protected:
  // Publishes "c" with weights that `scale` tells apart; their fingerprint.
  std::string Publish(float scale) {
    std::vector<quantization::SmallTensor> tensors = quantization::MlpTensors();
    for (float& value : tensors[0].values) value *= scale;
    quantization::WriteCheckpoint(*store_.Stage("c"), tensors,
                                  quantization::kMlpConfig);
    EXPECT_THAT(store_.Publish("c"), quantization::IsOk());
    return ImportGraph(store_, "c")->fingerprint;
  }

  const quantization::TemporaryDirectory directory_;
  const bundle::DirectoryStore store_ =
      *bundle::DirectoryStore::Open(directory_.path(), "checkpoint");
  FloatModels models_;
};

TEST_F(FloatModelsTest, AreLoadedOnce) {
  const std::string fingerprint = Publish(1);
  const auto first = models_.Load(store_, "c", fingerprint);
  ASSERT_THAT(first, quantization::IsOk());
  EXPECT_EQ(*models_.Load(store_, "c", fingerprint), *first);
  models_.Forget("c");
  EXPECT_NE(*models_.Load(store_, "c", fingerprint), *first);
}

TEST_F(FloatModelsTest, AreOfTheWeightsThatAreAskedFor) {
  const std::string before = Publish(1);
  const auto first = models_.Load(store_, "c", before);
  ASSERT_THAT(first, quantization::IsOk());
  ASSERT_THAT(store_.Remove("c"), quantization::IsOk());
  const std::string after = Publish(2);
  const auto second = models_.Load(store_, "c", after);
  ASSERT_THAT(second, quantization::IsOk());
  EXPECT_NE(*second, *first) << "the old one was kept under the same id";
  models_.Forget("c");
  EXPECT_THAT(models_.Load(store_, "c", before),
              quantization::FailsWith(absl::StatusCode::kFailedPrecondition,
                                      "other weights"));
}

}  // namespace
}  // namespace octet::rpc
