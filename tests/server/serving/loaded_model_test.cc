#include "server/serving/loaded_model.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/serving/model_files.h"
#include "tests/server/serving/status_message.h"
#include "tests/server/telemetry/scrape.h"

namespace octet::serving {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Optional;

class LoadedModelTest : public RegistryTest {
 protected:
  LoadedModelTest() {
    AddCheckpoint("c");
    AddBundle("b");
    registry_ = NewRegistry(&metrics_);
    exact_ = *registry_->Load("exact", "checkpoints/c");
    coded_ = *registry_->Load("coded", "bundles/b");
  }

  telemetry::Metrics metrics_;
  std::unique_ptr<ModelRegistry> registry_;
  std::shared_ptr<const LoadedModel> exact_;
  std::shared_ptr<const LoadedModel> coded_;
};

TEST_F(LoadedModelTest, MatMulIsOneLinearWithItsBias) {
  const std::vector<float> x = {1, 2, 3, -4, 5, 6};
  const auto y = exact_->MatMul("fc2", Rows(x.data(), 2, 3), {}, nullptr);
  ASSERT_TRUE(y.ok()) << y.status();
  EXPECT_EQ(y->rows, 2);
  EXPECT_EQ(y->cols, 1);
  EXPECT_THAT(y->values, ElementsAre(12.5F, 14.5F));
}

TEST_F(LoadedModelTest, MatMulOfNoRowsIsEmpty) {
  const float x = 0;
  const auto y = coded_->MatMul("fc1", Rows(&x, 0, 2), {}, nullptr);
  ASSERT_TRUE(y.ok()) << y.status();
  EXPECT_EQ(y->rows, 0);
  EXPECT_EQ(y->cols, 3);
}

TEST_F(LoadedModelTest, MatMulSaysWhatIsWrong) {
  const std::vector<float> x = {1, 2, 3, 4};
  const auto layer =
      exact_->MatMul("fc9", Rows(x.data(), 2, 2), {}, nullptr).status();
  EXPECT_TRUE(absl::IsNotFound(layer)) << layer;
  EXPECT_THAT(Message(layer), HasSubstr("fc9"));
  const auto width =
      exact_->MatMul("fc2", Rows(x.data(), 2, 2), {}, nullptr).status();
  EXPECT_TRUE(absl::IsInvalidArgument(width)) << width;
  EXPECT_THAT(Message(width),
              AllOf(HasSubstr("2 columns"), HasSubstr("takes 3")));
}

TEST_F(LoadedModelTest, MatMulNamesTheIndexOfAValueThatIsNotFinite) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(),
                          std::numeric_limits<float>::infinity()}) {
    const std::vector<float> x = {1, 2, 3, bad};
    const auto status =
        coded_->MatMul("fc1", Rows(x.data(), 2, 2), {}, nullptr).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(Message(status), HasSubstr("x[1][1]: "));
  }
  EXPECT_EQ(coded_->stats().matmul_count, 0);
}

TEST_F(LoadedModelTest, AllowedNonFiniteValuesSpoilTheirOwnRowOnly) {
  const std::vector<float> x = {1, 2, 3,
                                std::numeric_limits<float>::quiet_NaN()};
  for (const LoadedModel* model : {exact_.get(), coded_.get()}) {
    MatMulOptions options;
    options.allow_non_finite = true;
    const auto y = model->MatMul("fc1", Rows(x.data(), 2, 2), options, nullptr);
    ASSERT_TRUE(y.ok()) << y.status();
    const auto alone = model->MatMul("fc1", Rows(x.data(), 1, 2), {}, nullptr);
    ASSERT_TRUE(alone.ok()) << alone.status();
    for (size_t n = 0; n < y->cols; ++n) {
      EXPECT_EQ(y->values[n], alone->values[n]);
      EXPECT_TRUE(std::isnan(y->values[y->cols + n]));
    }
  }
}

TEST_F(LoadedModelTest, KnowsWhatAnAnswerTakesBeforeItIsComputed) {
  model::ModelInput input;
  input.features = {1, 2, 3, 4, 5, 6};
  input.feature_rows = 3;
  const auto forward = Forward(*exact_, input);
  ASSERT_TRUE(forward.ok()) << forward.status();
  EXPECT_EQ(exact_->OutputBytes(3, 0, model::OutputKind::kOutput),
            forward->values.size() * sizeof(float));
  const auto y =
      exact_->MatMul("fc1", Rows(input.features.data(), 3, 2), {}, nullptr);
  ASSERT_TRUE(y.ok()) << y.status();
  EXPECT_EQ(exact_->OutputBytes("fc1", 3), y->values.size() * sizeof(float));
  EXPECT_EQ(exact_->OutputBytes("fc9", 3), 0);
}

TEST_F(LoadedModelTest, CountsWhatWasAnsweredAndNotWhatFailed) {
  const std::vector<float> x = {1, 2, 3, 4};
  Answer(*coded_, 1, 2);
  Answer(*coded_, 3, 4);
  ASSERT_TRUE(coded_->MatMul("fc1", Rows(x.data(), 2, 2), {}, nullptr).ok());
  EXPECT_FALSE(Forward(*coded_, {}).ok());
  const ModelStats stats = coded_->stats();
  EXPECT_EQ(stats.forward_count, 2);
  EXPECT_EQ(stats.matmul_count, 1);
  EXPECT_EQ(stats.row_count, 4);
  const auto scrape = telemetry::Collect(metrics_);
  EXPECT_THAT(scrape.Value("octet_rows_total{model=\"coded\"}"), Optional(4));
  EXPECT_THAT(scrape.Value("octet_batch_rows_count{model=\"coded\"}"),
              Optional(3));
}

TEST_F(LoadedModelTest, PhaseTimesAreTheSameInAnswerStatisticsAndMetrics) {
  kernels::PhaseTimes answered;
  std::vector<float> x(256 * 2, 1.0F);
  for (int i = 0; i < 3; ++i) {
    MatMulTimes times;
    ASSERT_TRUE(coded_->MatMul("fc1", Rows(x.data(), 256, 2), {}, &times).ok());
    answered += times.phases;
  }
  const ModelStats stats = coded_->stats();
  EXPECT_EQ(stats.times.quantize_ns, answered.quantize_ns);
  EXPECT_EQ(stats.times.dot_ns, answered.dot_ns);
  EXPECT_EQ(stats.times.dequantize_ns, answered.dequantize_ns);
  EXPECT_GT(answered.quantize_ns + answered.dot_ns + answered.dequantize_ns, 0);
  const auto scrape = telemetry::Collect(metrics_);
  EXPECT_THAT(scrape.Value("octet_linear_seconds_total{layer_kind=\"fc1\","
                           "model=\"coded\",phase=\"dot\"}"),
              Optional(testing::DoubleNear(answered.dot_ns * 1e-9, 1e-9)));
  for (const char* stage :
       {"quantize", "dot", "dequantize", "outlier", "float"}) {
    EXPECT_THAT(
        scrape.Value("octet_stage_duration_seconds_count{model=\"coded\","
                     "stage=\"" +
                     std::string(stage) + "\"}"),
        Optional(3))
        << stage;
  }
}

TEST_F(LoadedModelTest, AFloatModelHasNoDequantOverhead) {
  Answer(*exact_, 1, 2);
  const float x[] = {1, 2};
  ASSERT_TRUE(exact_->MatMul("fc1", Rows(x, 1, 2), {}, nullptr).ok());
  const auto scrape = telemetry::Collect(metrics_);
  for (const auto& [sample, value] : scrape.samples) {
    EXPECT_FALSE(sample.starts_with("octet_linear_seconds_total") &&
                 sample.find("exact") != std::string::npos)
        << sample;
  }
}

}  // namespace
}  // namespace octet::serving
