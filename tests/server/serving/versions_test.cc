// Several versions of a model at once: shares, swaps under load, departures.

#include <array>
#include <atomic>
#include <cmath>
#include <fstream>
#include <future>
#include <thread>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/serving/model_registry.h"
#include "tests/server/serving/model_files.h"
#include "tests/server/serving/status_message.h"
#include "tests/server/telemetry/scrape.h"

namespace octet::serving {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Optional;
using ::testing::Pair;
using State = VersionInfo::State;

LoadOptions Share(double share, int64_t version = 0) {
  return {.version = version, .traffic_share = share};
}

std::vector<std::pair<int64_t, double>> Shares(const ModelRegistry& registry) {
  std::vector<std::pair<int64_t, double>> shares;
  for (const VersionInfo& info : registry.ListVersions()) {
    if (info.state != State::kReady) continue;
    shares.emplace_back(info.version, info.traffic_share);
  }
  return shares;
}

class Versions : public RegistryTest {
 protected:
  Versions() {
    AddCheckpoint("two", 2);
    AddCheckpoint("four", 4);
  }

  // What Answer says of the model that a request gets.
  static float Ask(const ModelRegistry& registry,
                   std::optional<int64_t> version = std::nullopt) {
    const auto model = registry.Find("m", version);
    EXPECT_TRUE(model.ok()) << model.status();
    return model.ok() ? Answer(**model, 1, 0) : -1;
  }
};

TEST_F(Versions, StandBesideEachOtherWithTheirShares) {
  const auto registry = NewRegistry();
  ASSERT_TRUE(registry->Load("m", "checkpoints/two").ok());
  ASSERT_TRUE(registry->Load("m", "checkpoints/four", Share(0.25)).ok());
  EXPECT_THAT(Shares(*registry), ElementsAre(Pair(1, 0.75), Pair(2, 0.25)));
  EXPECT_FLOAT_EQ(Ask(*registry, 1), 4.5);
  EXPECT_FLOAT_EQ(Ask(*registry, 2), 8.5);
  ASSERT_TRUE(registry->Load("m", "checkpoints/two", Share(0.5)).ok());
  EXPECT_THAT(Shares(*registry),
              ElementsAre(Pair(1, DoubleNear(0.375, 1e-9)),
                          Pair(2, DoubleNear(0.125, 1e-9)), Pair(3, 0.5)));
  ASSERT_EQ(registry->Unload("m", 3), absl::OkStatus());
  EXPECT_THAT(Shares(*registry), ElementsAre(Pair(1, DoubleNear(0.75, 1e-9)),
                                             Pair(2, DoubleNear(0.25, 1e-9))));
  // A number is never used again.
  const auto next = registry->Load("m", "checkpoints/two", Share(0));
  ASSERT_TRUE(next.ok());
  EXPECT_EQ((*next)->version(), 4);
}

TEST_F(Versions, RequestsAreDrawnByTheSharesAndTheSeed) {
  constexpr int kRequests = 20000;
  const auto draw = [&](uint64_t seed) {
    ModelRegistry registry(&checkpoints_, &bundles_, state_file_, nullptr,
                           seed);
    EXPECT_TRUE(registry.Load("m", "checkpoints/two").ok());
    EXPECT_TRUE(registry.Load("m", "checkpoints/four", Share(0.1)).ok());
    std::vector<int64_t> versions;
    for (int i = 0; i < kRequests; ++i) {
      versions.push_back((*registry.Find("m"))->version());
    }
    return versions;
  };
  for (const uint64_t seed : {0, 1, 2, 3}) {
    SCOPED_TRACE(seed);
    const std::vector<int64_t> versions = draw(seed);
    const auto canary = std::count(versions.begin(), versions.end(), 2);
    // Within five standard deviations of the binomial.
    EXPECT_NEAR(canary, 0.1 * kRequests, 5 * std::sqrt(0.09 * kRequests));
    EXPECT_EQ(draw(seed), versions);
  }
  EXPECT_NE(draw(0), draw(1));
}

TEST_F(Versions, OneWithoutAShareIsReachedByItsNumberAlone) {
  const auto registry = NewRegistry();
  ASSERT_TRUE(registry->Load("m", "checkpoints/two", Share(0)).ok());
  const absl::Status nobody = registry->Find("m").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(nobody)) << nobody;
  EXPECT_THAT(Message(nobody), HasSubstr("loaded are versions: 1"));
  EXPECT_FLOAT_EQ(Ask(*registry, 1), 4.5);
  EXPECT_EQ((*registry->FindPrimary("m"))->version(), 1);
  EXPECT_EQ(registry->FindReady("m").status(), nobody);
  EXPECT_TRUE(registry->FindReady("m", 1).ok());
  // The only one with a share has all of it.
  ASSERT_TRUE(registry->Load("m", "checkpoints/four", Share(0.1)).ok());
  EXPECT_THAT(Shares(*registry), ElementsAre(Pair(1, 0), Pair(2, 1)));
  EXPECT_FLOAT_EQ(Ask(*registry), 8.5);
  EXPECT_EQ((*registry->FindReady("m"))->version(), 2);
}

TEST_F(Versions, OneThatIsLoadedIsNotReadAgainButTakesANewShare) {
  const auto registry = NewRegistry();
  ASSERT_TRUE(registry->Load("m", "checkpoints/two").ok());
  const auto canary = registry->Load("m", "checkpoints/four", Share(0.1));
  ASSERT_TRUE(canary.ok());
  const auto more = registry->Load("m", "checkpoints/four", Share(0.5, 2));
  ASSERT_TRUE(more.ok());
  EXPECT_EQ(*more, *canary);
  EXPECT_THAT(Shares(*registry), ElementsAre(Pair(1, 0.5), Pair(2, 0.5)));
  const auto other = registry->Load("m", "checkpoints/two", Share(0.5, 2));
  EXPECT_TRUE(absl::IsAlreadyExists(other.status())) << other.status();
  // Without a share it is promoted, and the others leave.
  const auto promoted = registry->Load("m", "checkpoints/four", {.version = 2});
  ASSERT_TRUE(promoted.ok());
  EXPECT_EQ(*promoted, *canary);
  EXPECT_THAT(Shares(*registry), ElementsAre(Pair(2, 1)));
}

TEST_F(Versions, SayWhatIsWrong) {
  const auto registry = NewRegistry();
  ASSERT_TRUE(registry->Load("m", "checkpoints/two", {.version = 7}).ok());
  const absl::Status missing = registry->Find("m", 3).status();
  EXPECT_TRUE(absl::IsNotFound(missing)) << missing;
  EXPECT_EQ(Message(missing),
            "version 3 of model 'm' is not loaded; loaded are versions: 7");
  EXPECT_TRUE(absl::IsNotFound(registry->Unload("m", 3)));
  for (const LoadOptions& bad :
       {Share(-0.1), Share(1.1), Share(std::nan("")), Share(1, -1)}) {
    const auto refused = registry->Load("m", "checkpoints/two", bad).status();
    EXPECT_TRUE(absl::IsInvalidArgument(refused)) << refused;
  }
  EXPECT_THAT(Shares(*registry), ElementsAre(Pair(7, 1)));
}

TEST_F(Versions, ARestartKeepsNumbersAndShares) {
  {
    const auto registry = NewRegistry();
    ASSERT_TRUE(registry->Load("m", "checkpoints/two").ok());
    ASSERT_TRUE(registry->Load("m", "checkpoints/four", Share(0.25, 5)).ok());
    ASSERT_TRUE(registry->Load("m", "checkpoints/four", Share(0, 9)).ok());
    ASSERT_EQ(registry->Unload("m", 9), absl::OkStatus());
  }
  const auto registry = NewRegistry();
  ASSERT_EQ(registry->Restore(), absl::OkStatus());
  EXPECT_THAT(Shares(*registry), ElementsAre(Pair(1, 0.75), Pair(5, 0.25)));
  EXPECT_EQ((*registry->Load("m", "checkpoints/two"))->version(), 10);
}

TEST_F(Versions, AStateFileOfTheFirstFormatIsRead) {
  std::ofstream(state_file_) << R"({"format_version": 1, "models": [
      {"id": "m", "source": "checkpoints/four", "version": 3}]})";
  const auto registry = NewRegistry();
  ASSERT_EQ(registry->Restore(), absl::OkStatus());
  EXPECT_THAT(Shares(*registry), ElementsAre(Pair(3, 1)));
  EXPECT_FLOAT_EQ(Ask(*registry), 8.5);
}

TEST_F(Versions, ALostVersionLeavesItsRequestsToTheOthers) {
  {
    const auto registry = NewRegistry();
    ASSERT_TRUE(registry->Load("m", "checkpoints/two").ok());
    ASSERT_TRUE(registry->Load("m", "checkpoints/four", Share(0.5)).ok());
  }
  ASSERT_EQ(checkpoints_.Remove("four"), absl::OkStatus());
  const auto registry = NewRegistry();
  EXPECT_FALSE(registry->Restore().ok());
  for (int i = 0; i < 20; ++i) EXPECT_FLOAT_EQ(Ask(*registry), 4.5);
  const absl::Status lost = registry->Find("m", 2).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(lost)) << lost;
  const auto list = registry->ListVersions();
  ASSERT_EQ(list.size(), 2);
  EXPECT_EQ(list[1].state, State::kFailed);
  EXPECT_THAT(Message(list[1].error), HasSubstr("four"));
}

TEST_F(Versions, UnloadingWaitsForTheLastUser) {
  const auto registry = NewRegistry();
  auto held = *registry->Load("m", "checkpoints/two");
  ASSERT_EQ(registry->Unload("m"), absl::OkStatus());
  EXPECT_TRUE(absl::IsNotFound(registry->Find("m").status()));
  const auto list = registry->ListVersions();
  ASSERT_EQ(list.size(), 1);
  EXPECT_EQ(list[0].state, State::kUnloading);
  EXPECT_EQ(list[0].version, 1);

  const absl::Status late = registry->AwaitUnloaded("m", 1, absl::Now());
  EXPECT_TRUE(absl::IsDeadlineExceeded(late)) << late;
  EXPECT_THAT(Message(late), HasSubstr("still use version 1"));
  EXPECT_TRUE(absl::IsCancelled(registry->AwaitUnloaded(
      "m", std::nullopt, absl::InfiniteFuture(), [] { return true; })));
  EXPECT_EQ(registry->AwaitUnloaded("m", 2, absl::Now()), absl::OkStatus());

  auto waiting = std::async(std::launch::async, [&] {
    return registry->AwaitUnloaded("m", std::nullopt, absl::InfiniteFuture());
  });
  EXPECT_FLOAT_EQ(Answer(*held, 1, 0), 4.5);
  held.reset();
  EXPECT_EQ(waiting.get(), absl::OkStatus());
  EXPECT_TRUE(registry->ListVersions().empty());
}

TEST_F(Versions, AHolderMayOutliveTheRegistry) {
  auto registry = NewRegistry();
  const auto held = *registry->Load("m", "checkpoints/two");
  ASSERT_EQ(registry->Unload("m"), absl::OkStatus());
  registry.reset();
  EXPECT_FLOAT_EQ(Answer(*held, 1, 0), 4.5);
}

TEST_F(Versions, HaveSeriesOfTheirOwnWhileTheyAreServed) {
  telemetry::Metrics metrics;
  const auto registry = NewRegistry(&metrics);
  ASSERT_TRUE(registry->Load("m", "checkpoints/two").ok());
  ASSERT_TRUE(registry->Load("m", "checkpoints/four", Share(0.25)).ok());
  Ask(*registry, 2);
  Ask(*registry, 2);
  const auto value = [&](const std::string& series) {
    return telemetry::Collect(metrics).Value(series);
  };
  EXPECT_THAT(value("octet_model_version_info{model=\"m\",source=\"checkpoints/"
                    "two\",version=\"1\"}"),
              Optional(1));
  EXPECT_THAT(value("octet_model_traffic_share{model=\"m\",version=\"1\"}"),
              Optional(0.75));
  EXPECT_THAT(value("octet_version_rows_total{model=\"m\",version=\"1\"}"),
              Optional(0));
  ASSERT_EQ(registry->Unload("m", 1), absl::OkStatus());
  EXPECT_EQ(telemetry::Collect(metrics).CountWith("version=\"1\""), 0);
  EXPECT_THAT(value("octet_version_rows_total{model=\"m\",version=\"2\"}"),
              Optional(2));
  EXPECT_THAT(value("octet_model_traffic_share{model=\"m\",version=\"2\"}"),
              Optional(1));
  ASSERT_EQ(registry->Unload("m"), absl::OkStatus());
  EXPECT_EQ(telemetry::Collect(metrics).CountWith("model=\"m\""), 0);
}

TEST_F(Versions, TheModelIsDescribedByTheVersionWithTheLargestShare) {
  telemetry::Metrics metrics;
  auto registry = NewRegistry(&metrics);
  AddBundle("b");
  const auto value = [&](const std::string& series) {
    return *telemetry::Collect(metrics).Value("octet_" + series +
                                              "{model=\"m\"}");
  };
  ASSERT_TRUE(registry->Load("m", "bundles/b").ok());
  const double coded = value("compression_ratio");
  const double coded_bytes = value("model_resident_bytes");
  EXPECT_NE(coded, 1);
  ASSERT_TRUE(registry->Load("m", "checkpoints/two", Share(0)).ok());
  const double both_bytes = value("model_resident_bytes");
  EXPECT_GT(both_bytes, coded_bytes);
  EXPECT_EQ(value("compression_ratio"), coded);
  registry = NewRegistry(&metrics);
  ASSERT_EQ(registry->Restore(), absl::OkStatus());
  EXPECT_EQ(value("compression_ratio"), coded);
  EXPECT_EQ(value("model_resident_bytes"), both_bytes);
  ASSERT_TRUE(registry->Load("m", "checkpoints/two", Share(0.9, 2)).ok());
  EXPECT_EQ(value("compression_ratio"), 1);
  EXPECT_EQ(value("model_resident_bytes"), both_bytes);
  ASSERT_EQ(registry->Unload("m", 2), absl::OkStatus());
  EXPECT_EQ(value("compression_ratio"), coded);
  EXPECT_EQ(value("model_resident_bytes"), coded_bytes);
}

// Loads, swaps and unloads from two threads under many readers: each answer is
// of one version whole, and the one that was asked for.
TEST_F(Versions, AStormOfSwapsNeverShowsHalfAModel) {
  telemetry::Metrics metrics;
  const auto registry = NewRegistry(&metrics);
  ASSERT_TRUE(registry->Load("m", "checkpoints/two").ok());
  std::atomic<bool> done = false;
  std::atomic<int> answers = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      while (!done) {
        const auto model = registry->Find("m");
        ASSERT_TRUE(model.ok()) << model.status();
        EXPECT_FLOAT_EQ(Answer(**model, 1, 0),
                        (*model)->source() == "checkpoints/two" ? 4.5 : 8.5);
        ++answers;
        const auto list = registry->ListVersions();
        EXPECT_FALSE(list.empty());
      }
    });
  }
  const auto swap = [&](const std::string& source, int64_t first) {
    // Steps that the numbers given to the loads without one never fill: theirs
    // count up from the highest.
    for (int64_t beside = first; beside < first + 40'000; beside += 1'000) {
      const auto canary = registry->Load("m", source, Share(0.5, beside));
      ASSERT_TRUE(canary.ok()) << canary.status();
      const auto next = registry->Load("m", source);
      ASSERT_TRUE(next.ok()) << next.status();
      // The other thread's swap may have been faster.
      const absl::Status gone = registry->Unload("m", beside);
      EXPECT_TRUE(gone.ok() || absl::IsNotFound(gone)) << gone;
    }
  };
  std::thread two([&] { swap("checkpoints/two", 1'000'000); });
  std::thread four([&] { swap("checkpoints/four", 2'000'000'000); });
  two.join();
  four.join();
  while (answers < 100) std::this_thread::yield();
  done = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(registry->AwaitUnloaded("m", std::nullopt, absl::InfiniteFuture()),
            absl::OkStatus());
  EXPECT_EQ(Shares(*registry).size(), 1);
}

}  // namespace
}  // namespace octet::serving
