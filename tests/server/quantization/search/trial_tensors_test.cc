#include "server/quantization/search/trial_tensors.h"

#include <optional>
#include <string>

#include "gtest/gtest.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

using model::DataType;

class TrialTensorsTest : public ::testing::Test {
 protected:
  TrialTensorsTest() {
    WriteCheckpoint(directory_.path(), MlpTensors(), kMlpConfig);
    opened_ = OpenFloat(directory_.path());
    linear_ = opened_.model->graph().Linears().front();
    tensors_.emplace(*opened_.files.tensors);
  }

  // As correcting its bias, or not, would leave it.
  void PutFirst(bool corrects) {
    QuantizedLayer layer;
    layer.codes.resize(kMlpHidden * kMlpIn);
    layer.scales.resize(kMlpHidden);
    if (corrects) layer.bias.resize(kMlpHidden);
    LayerPlan plan;
    plan.scheme.scheme = model::Scheme::kW8A8Dynamic;
    tensors_->Put(*linear_, plan, layer);
  }

  DataType TypeOf(const std::string& name) const {
    return tensors_->Find(name)->type;
  }

  TemporaryDirectory directory_;
  OpenedModel opened_;
  const model::Linear* linear_;
  std::optional<TrialTensors> tensors_;
};

TEST_F(TrialTensorsTest, ARoundedBiasIsThatOfLayersThatDoNotCorrectIt) {
  ASSERT_THAT(tensors_->Round("fc1.bias", DataType::kF16), IsOk());
  PutFirst(/*corrects=*/false);
  EXPECT_EQ(TypeOf("fc1.weight"), DataType::kI8);
  EXPECT_EQ(TypeOf("fc1.bias"), DataType::kF16);
  PutFirst(/*corrects=*/true);
  EXPECT_EQ(TypeOf("fc1.bias"), DataType::kF32);
  tensors_->Remove(*linear_);
  EXPECT_EQ(TypeOf("fc1.weight"), DataType::kF32);
  EXPECT_EQ(TypeOf("fc1.bias"), DataType::kF16);
}

TEST_F(TrialTensorsTest, CountsWhatWasPut) {
  ASSERT_THAT(tensors_->Round("fc1.bias", DataType::kF16), IsOk());
  EXPECT_EQ(tensors_->StoredBytes(*linear_), 0);
  PutFirst(/*corrects=*/false);
  EXPECT_EQ(tensors_->StoredBytes(*linear_), kMlpHidden * (kMlpIn + 4));
  PutFirst(/*corrects=*/true);
  EXPECT_EQ(tensors_->StoredBytes(*linear_), kMlpHidden * (kMlpIn + 4 + 4));
}

}  // namespace
}  // namespace octet::quantization
