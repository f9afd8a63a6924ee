#include "server/serving/watcher.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/serving/model_registry.h"
#include "tests/server/serving/model_files.h"
#include "tests/server/telemetry/scrape.h"

namespace octet::serving {
namespace {

using ::testing::DoubleNear;
using ::testing::Ge;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::Optional;

LoadOptions Shadow(double rate) {
  LoadOptions options;
  options.shadow_rate = rate;
  return options;
}

class WatcherTest : public RegistryTest {
 protected:
  WatcherTest() {
    AddCheckpoint("c");
    AddBundle("b");
    registry_ = NewRegistry(&metrics_);
    registry_->set_watcher(&watcher_);
  }

  std::optional<double> Value(const std::string& series) {
    watcher_.AwaitIdle();
    return telemetry::Collect(metrics_).Value(series);
  }

  telemetry::Metrics metrics_;
  Watcher watcher_{&metrics_};
  std::unique_ptr<ModelRegistry> registry_;
};

TEST_F(WatcherTest, ComparesAnswersWithThoseOfTheCheckpoint) {
  const auto model = registry_->Load("m", "bundles/b", Shadow(1));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT(Value("octet_shadow_requests_total{model=\"m\",result="
                    "\"compared\"}"),
              Optional(0));
  for (int i = 0; i < 5; ++i) {
    Answer(**model, 1, 2);
    watcher_.AwaitIdle();  // so that none is dropped
  }
  EXPECT_THAT(Value("octet_shadow_requests_total{model=\"m\",result="
                    "\"compared\"}"),
              Optional(5));
  // One value of the same sign: nothing but its size can differ.
  EXPECT_THAT(Value("octet_shadow_cosine_sum{model=\"m\"}"),
              Optional(DoubleNear(5, 1e-6)));
  // 12.5 within 0.1 is 41 dB.
  EXPECT_THAT(Value("octet_shadow_sqnr_decibels_sum{model=\"m\"}"),
              Optional(Ge(5 * 40)));
}

TEST_F(WatcherTest, LooksAtTheShareThatWasAskedFor) {
  const auto model = registry_->Load("m", "bundles/b", Shadow(0.25));
  ASSERT_TRUE(model.ok()) << model.status();
  constexpr int kRequests = 1000;
  for (int i = 0; i < kRequests; ++i) {
    Answer(**model, 1, 2);
    watcher_.AwaitIdle();
  }
  EXPECT_THAT(Value("octet_shadow_requests_total{model=\"m\",result="
                    "\"compared\"}"),
              Optional(DoubleNear(0.25 * kRequests,
                                  5 * std::sqrt(0.1875 * kRequests))));
  EXPECT_THAT(Value("octet_shadow_requests_total{model=\"m\",result="
                    "\"dropped\"}"),
              Optional(0));
}

TEST_F(WatcherTest, ThereIsNoShadowWithoutTheCheckpoint) {
  ASSERT_EQ(checkpoints_.Remove("c"), absl::OkStatus());
  const auto gone = registry_->Load("m", "bundles/b", Shadow(0.5)).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(gone)) << gone;
  EXPECT_THAT(std::string(gone.message()), HasSubstr("checkpoints/c"));
  EXPECT_TRUE(registry_->ListVersions().empty());
  EXPECT_TRUE(registry_->Load("m", "bundles/b").ok());
  for (const double bad : {-0.1, 1.1, std::nan("")}) {
    const auto refused = registry_->Load("m", "bundles/b", Shadow(bad));
    EXPECT_TRUE(absl::IsInvalidArgument(refused.status()));
  }
}

TEST_F(WatcherTest, ALoadedVersionKeepsItsRate) {
  ASSERT_TRUE(registry_->Load("m", "bundles/b", Shadow(0.5)).ok());
  LoadOptions again = Shadow(0.25);
  again.version = 1;
  const auto refused = registry_->Load("m", "bundles/b", again).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("unload it first"));
  for (const double rate : {0.0, 0.5}) {
    again.shadow_rate = rate;
    const auto kept = registry_->Load("m", "bundles/b", again);
    ASSERT_TRUE(kept.ok()) << kept.status();
    EXPECT_EQ((*kept)->watch().shadow_rate, 0.5);
  }
}

TEST_F(WatcherTest, AFloatModelHasNoShadow) {
  const auto refused =
      registry_->Load("m", "checkpoints/c", Shadow(0.5)).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
}

TEST_F(WatcherTest, ARestartKeepsTheRateAndServesWithoutTheCheckpoint) {
  ASSERT_TRUE(registry_->Load("m", "bundles/b", Shadow(0.5)).ok());
  auto restarted = NewRegistry(&metrics_);
  restarted->set_watcher(&watcher_);
  ASSERT_EQ(restarted->Restore(), absl::OkStatus());
  EXPECT_EQ((*restarted->Find("m"))->watch().shadow_rate, 0.5);
  ASSERT_EQ(checkpoints_.Remove("c"), absl::OkStatus());
  restarted = NewRegistry(&metrics_);
  restarted->set_watcher(&watcher_);
  EXPECT_TRUE(absl::IsFailedPrecondition(restarted->Restore()));
  ASSERT_TRUE(restarted->Find("m").ok());
  EXPECT_NEAR(Answer(**restarted->Find("m"), 1, 2), 12.5, 0.1);
}

TEST_F(WatcherTest, InputsBeyondCalibrationAreSeen) {
  const auto model = registry_->Load("m", "bundles/b");
  ASSERT_TRUE(model.ok()) << model.status();
  // The first request is always looked at; the bundle was calibrated to 4.
  Answer(**model, 1, -12);
  EXPECT_THAT(Value("octet_input_range_ratio_sum{layer_kind=\"fc1\",model="
                    "\"m\"}"),
              Optional(3));
  EXPECT_THAT(Value("octet_input_range_ratio_count{layer_kind=\"fc1\",model="
                    "\"m\"}"),
              Optional(1));
  ASSERT_EQ(registry_->Unload("m"), absl::OkStatus());
  EXPECT_EQ(telemetry::Collect(metrics_).CountWith("model=\"m\""), 0);
}

TEST_F(WatcherTest, RowsOfOneLayerBeyondCalibrationAreSeen) {
  const auto model = registry_->Load("m", "bundles/b");
  ASSERT_TRUE(model.ok()) << model.status();
  const std::vector<float> x = {1, 2, -6, 0};
  // fc2 is no INT8 layer: the first look waits for one that is.
  ASSERT_TRUE((*model)->MatMul("fc2", Rows(x.data(), 1, 3), {}, nullptr).ok());
  ASSERT_TRUE((*model)->MatMul("fc1", Rows(x.data(), 2, 2), {}, nullptr).ok());
  EXPECT_THAT(Value("octet_input_range_ratio_sum{layer_kind=\"fc1\",model="
                    "\"m\"}"),
              Optional(1.5));
  EXPECT_THAT(Value("octet_input_range_ratio_count{layer_kind=\"fc1\",model="
                    "\"m\"}"),
              Optional(1));
}

TEST_F(WatcherTest, SaysWhatEachWorkCost) {
  EXPECT_THAT(Value("octet_watch_cpu_seconds_total{work=\"drift\"}"),
              Optional(0));
  const auto model = registry_->Load("m", "bundles/b", Shadow(1));
  ASSERT_TRUE(model.ok()) << model.status();
  Answer(**model, 1, 2);
  EXPECT_THAT(Value("octet_watch_cpu_seconds_total{work=\"drift\"}"),
              Optional(Gt(0)));
  EXPECT_THAT(Value("octet_watch_cpu_seconds_total{work=\"shadow\"}"),
              Optional(Gt(0)));
}

TEST(Drift, CountsStaticCodesBeyondTheirRange) {
  InputLimits limits;
  limits.kind = "fc";
  limits.absmax = 2;
  limits.low = -1.005F;  // scale 0.01, zero point 100
  limits.high = 1.555F;
  limits.factors = {1, 0.5F};
  const LimitsByLayer by_layer = {{"fc", limits}};
  DriftObserver observer(by_layer);
  model::Linear linear;
  linear.layer = "fc";
  const std::vector<float> x = {1.55F, 3.1F, 1.56F, 3.12F, -1.1F, -2.0F};
  ASSERT_EQ(observer.OnLinear(linear, {x.data(), 3, 2}, {}), absl::OkStatus());
  linear.layer = "other";
  ASSERT_EQ(observer.OnLinear(linear, {x.data(), 3, 2}, {}), absl::OkStatus());
  ASSERT_EQ(observer.drift().size(), 1);
  const Drift& drift = observer.drift().at("fc");
  EXPECT_EQ(drift.codes, 6);
  EXPECT_EQ(drift.saturated, 3);
  ASSERT_EQ(drift.range_ratios.size(), 1);
  EXPECT_FLOAT_EQ(drift.range_ratios[0], 3.12F / 2);
}

}  // namespace
}  // namespace octet::serving
