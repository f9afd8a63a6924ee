#include "server/serving/capture_queue.h"

#include <cmath>
#include <condition_variable>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/serving/model_registry.h"
#include "tests/server/serving/model_files.h"
#include "tests/server/telemetry/scrape.h"

namespace octet::serving {
namespace {

using ::testing::ElementsAre;
using ::testing::Gt;
using ::testing::IsEmpty;
using ::testing::Optional;

class Recorder final : public CaptureSink {
 public:
  // Wants that many inputs; the first Take waits for `gate`.
  explicit Recorder(size_t most = SIZE_MAX, std::latch* gate = nullptr)
      : most_(most), gate_(gate) {}

  bool Take(LiveInput input) override {
    if (gate_ != nullptr) gate_->wait();
    const std::scoped_lock lock(mutex_);
    EXPECT_FALSE(end_) << "taken after the end";
    inputs_.push_back(std::move(input));
    return inputs_.size() < most_;
  }
  void Ended(CaptureEnd why) override {
    const std::scoped_lock lock(mutex_);
    EXPECT_FALSE(end_) << "ended twice";
    end_ = why;
    changed_.notify_all();
  }
  void Dropped(size_t samples) override {
    const std::scoped_lock lock(mutex_);
    dropped_ += samples;
  }

  std::vector<LiveInput> inputs() {
    const std::scoped_lock lock(mutex_);
    return inputs_;
  }
  size_t dropped() {
    const std::scoped_lock lock(mutex_);
    return dropped_;
  }
  CaptureEnd AwaitEnd() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return end_.has_value(); });
    return *end_;
  }

 private:
  const size_t most_;
  std::latch* const gate_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::vector<LiveInput> inputs_;
  size_t dropped_ = 0;
  std::optional<CaptureEnd> end_;
};

class CaptureQueueTest : public RegistryTest {
 protected:
  CaptureQueueTest() {
    AddCheckpoint("c");
    AddBundle("b");
    registry_ = NewRegistry(&metrics_);
    registry_->set_watcher(&watcher_);
    model_ = *registry_->Load("m", "bundles/b");
  }

  CaptureQueue& queue() { return watcher_.captures(); }

  std::shared_ptr<Recorder> Start(double rate,
                                  std::shared_ptr<Recorder> recorder,
                                  absl::Time end = absl::InfiniteFuture()) {
    EXPECT_TRUE(queue().Start({.model = "m",
                               .rate = rate,
                               .end = end,
                               .input_shape = model_->input_shape(),
                               .sink = recorder}));
    return recorder;
  }

  telemetry::Metrics metrics_;
  Watcher watcher_{&metrics_};
  std::unique_ptr<ModelRegistry> registry_;
  std::shared_ptr<const LoadedModel> model_;
};

TEST_F(CaptureQueueTest, GivesEveryComputationAtRateOne) {
  Answer(*model_, 9, 9);
  const auto recorder = Start(1, std::make_shared<Recorder>());
  Answer(*model_, 1, 2);
  const std::vector<float> x = {3, 4, 5, 6};
  ASSERT_TRUE(model_->MatMul("fc1", Rows(x.data(), 2, 2), {}, nullptr).ok());
  queue().AwaitIdle();
  const std::vector<LiveInput> inputs = recorder->inputs();
  ASSERT_EQ(inputs.size(), 2);
  EXPECT_THAT(inputs[0].inputs.features, ElementsAre(1, 2));
  EXPECT_EQ(inputs[0].samples(), 1);
  EXPECT_EQ(inputs[1].layer, "fc1");
  EXPECT_EQ(inputs[1].values, x);
  EXPECT_EQ(inputs[1].samples(), 2);
  EXPECT_THAT(telemetry::Collect(metrics_).Value(
                  "octet_watch_cpu_seconds_total{work=\"capture\"}"),
              Optional(Gt(0)));
  queue().Stop(*recorder);
}

TEST_F(CaptureQueueTest, GivesTheShareThatWasAskedFor) {
  const auto recorder = Start(0.25, std::make_shared<Recorder>());
  constexpr int kRequests = 1000;
  for (int i = 0; i < kRequests; ++i) Answer(*model_, 1, 2);
  queue().AwaitIdle();
  EXPECT_NEAR(static_cast<double>(recorder->inputs().size()), 0.25 * kRequests,
              5 * std::sqrt(0.1875 * kRequests));
  EXPECT_EQ(recorder->dropped(), 0);
  queue().Stop(*recorder);
}

TEST_F(CaptureQueueTest, NothingIsTakenOnceStopped) {
  const auto recorder = Start(1, std::make_shared<Recorder>());
  for (int i = 0; i < 100; ++i) Answer(*model_, 1, 2);
  queue().Stop(*recorder);
  EXPECT_EQ(recorder->AwaitEnd(), CaptureEnd::kStopped);
  const size_t taken = recorder->inputs().size();
  Answer(*model_, 1, 2);
  queue().AwaitIdle();
  EXPECT_EQ(recorder->inputs().size(), taken);
  queue().Stop(*recorder);  // once more is no harm
  queue().Stop(*Start(1, std::make_shared<Recorder>()));
}

TEST_F(CaptureQueueTest, EndsWhenTheSinkHasEnough) {
  const auto recorder = Start(1, std::make_shared<Recorder>(3));
  for (int i = 0; i < 10; ++i) Answer(*model_, 1, 2);
  EXPECT_EQ(recorder->AwaitEnd(), CaptureEnd::kFull);
  EXPECT_EQ(recorder->inputs().size(), 3);
}

TEST_F(CaptureQueueTest, EndsInTimeWithoutTraffic) {
  const auto recorder =
      Start(1, std::make_shared<Recorder>(), absl::Now() + absl::Seconds(0.01));
  EXPECT_EQ(recorder->AwaitEnd(), CaptureEnd::kTime);
  EXPECT_THAT(recorder->inputs(), IsEmpty());
}

TEST_F(CaptureQueueTest, OutlivesASwapAndEndsWithTheModel) {
  const auto recorder = Start(1, std::make_shared<Recorder>());
  Answer(*model_, 1, 2);
  model_ = *registry_->Load("m", "checkpoints/c");
  Answer(*model_, 1, 2);
  queue().AwaitIdle();
  EXPECT_EQ(recorder->inputs().size(), 2);
  ASSERT_EQ(registry_->Unload("m"), absl::OkStatus());
  EXPECT_EQ(recorder->AwaitEnd(), CaptureEnd::kUnloaded);
}

TEST_F(CaptureQueueTest, EndsWithAModelOfAnotherShape) {
  const auto recorder = std::make_shared<Recorder>();
  ASSERT_TRUE(queue().Start({.model = "m",
                             .rate = 1,
                             .input_shape = model_->input_shape() + 1,
                             .sink = recorder}));
  Answer(*model_, 1, 2);
  EXPECT_EQ(recorder->AwaitEnd(), CaptureEnd::kOtherModel);
  EXPECT_THAT(recorder->inputs(), IsEmpty());
}

TEST_F(CaptureQueueTest, AModelHasOneCaptureAndOthersHaveNone) {
  const auto recorder = Start(1, std::make_shared<Recorder>());
  EXPECT_FALSE(queue().Start({.model = "m",
                              .input_shape = model_->input_shape(),
                              .sink = std::make_shared<Recorder>()}));
  Answer(**registry_->Load("other", "bundles/b"), 1, 2);
  queue().AwaitIdle();
  EXPECT_THAT(recorder->inputs(), IsEmpty());
  queue().Stop(*recorder);
}

TEST_F(CaptureQueueTest, WhatFindsTheQueueFullIsDroppedAndCounted) {
  std::latch gate(1);
  const auto recorder = Start(1, std::make_shared<Recorder>(SIZE_MAX, &gate));
  // Two of these fit beside what the sink holds.
  model::ModelInput large;
  large.feature_rows = CaptureQueue::kMaxWaitingBytes / sizeof(float) / 5;
  large.features.assign(2 * large.feature_rows, 1);
  constexpr size_t kRequests = 4;
  for (size_t i = 0; i < kRequests; ++i) queue().Offer(*model_, large);
  EXPECT_GE(recorder->dropped(), large.feature_rows);
  gate.count_down();
  queue().AwaitIdle();
  EXPECT_EQ(
      recorder->inputs().size() * large.feature_rows + recorder->dropped(),
      kRequests * large.feature_rows);
  queue().Stop(*recorder);
}

TEST(LiveInput, KeepsTheFirstSamplesWhole) {
  LiveInput sequences;
  sequences.inputs.token_ids = {1, 2, 3, 4, 5, 6};
  sequences.inputs.lengths = {2, 1, 3};
  sequences.KeepFirst(2);
  EXPECT_THAT(sequences.inputs.token_ids, ElementsAre(1, 2, 3));
  EXPECT_THAT(sequences.inputs.lengths, ElementsAre(2, 1));
  LiveInput features;
  features.inputs.features = {1, 2, 3, 4, 5, 6};
  features.inputs.feature_rows = 3;
  features.KeepFirst(1);
  EXPECT_THAT(features.inputs.features, ElementsAre(1, 2));
  EXPECT_EQ(features.samples(), 1);
  model::Linear linear;
  linear.layer = "fc";
  const std::vector<float> x = {1, 2, 3, 4};
  LiveInput rows = *LiveInput::Of(linear, Rows(x.data(), 2, 2));
  EXPECT_THAT(rows.values, ElementsAre(1, 2, 3, 4));
  rows.KeepFirst(1);
  EXPECT_THAT(rows.values, ElementsAre(1, 2));
  EXPECT_EQ(rows.samples(), 1);
}

}  // namespace
}  // namespace octet::serving
