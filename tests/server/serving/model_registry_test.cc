#include "server/serving/model_registry.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/bundle/atomic_file.h"
#include "tests/server/serving/model_files.h"
#include "tests/server/serving/status_message.h"
#include "tests/server/telemetry/scrape.h"

namespace octet::serving {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Optional;

std::vector<std::string> Ids(const ModelRegistry& registry) {
  std::vector<std::string> ids;
  for (const auto& model : registry.List()) ids.push_back(model->id());
  return ids;
}

TEST_F(RegistryTest, ServesACheckpointInFp32AndABundleInInt8) {
  AddCheckpoint("c");
  AddBundle("b");
  const auto registry = NewRegistry();
  const auto exact = registry->Load("float", "checkpoints/c");
  ASSERT_TRUE(exact.ok()) << exact.status();
  const auto coded = registry->Load("int8", "bundles/b");
  ASSERT_TRUE(coded.ok()) << coded.status();

  EXPECT_FLOAT_EQ(Answer(**exact, 1, 2), 12.5);
  EXPECT_NEAR(Answer(**coded, 1, 2), 12.5, 0.1);
  EXPECT_EQ((*exact)->isa(), "");
  EXPECT_NE((*coded)->isa(), "");
  EXPECT_EQ((*coded)->source(), "bundles/b");
  EXPECT_THAT(Ids(*registry), ElementsAre("float", "int8"));
}

TEST_F(RegistryTest, SaysWhatIsWrongWithARequestToLoad) {
  AddCheckpoint("c");
  const auto registry = NewRegistry();
  const auto bad_id = registry->Load("../up", "checkpoints/c").status();
  EXPECT_TRUE(absl::IsInvalidArgument(bad_id)) << bad_id;
  EXPECT_THAT(Message(bad_id), HasSubstr("model_id"));
  const auto bad_source = registry->Load("m", "elsewhere/c").status();
  EXPECT_TRUE(absl::IsInvalidArgument(bad_source)) << bad_source;
  EXPECT_THAT(Message(bad_source), HasSubstr("'elsewhere/c'"));
  const auto missing = registry->Load("m", "bundles/c").status();
  EXPECT_TRUE(absl::IsNotFound(missing)) << missing;
  const auto escaping =
      registry->Load("m", "checkpoints/../checkpoints/c").status();
  EXPECT_FALSE(escaping.ok());
  EXPECT_TRUE(registry->List().empty());
}

TEST_F(RegistryTest, UsesWhatItLoadsFromTheBeginning) {
  AddCheckpoint("c");
  const auto registry = NewRegistry();
  EXPECT_FALSE(registry->Uses("checkpoints/c"));
  {
    const auto loading = registry->BeginLoad("m", "checkpoints/c");
    ASSERT_TRUE(loading.ok()) << loading.status();
    EXPECT_TRUE(registry->Uses("checkpoints/c"));
    ASSERT_EQ(registry->ListVersions().size(), 1);
    EXPECT_EQ(registry->ListVersions()[0].state, VersionInfo::State::kLoading);
  }
  EXPECT_FALSE(registry->Uses("checkpoints/c")) << "it was given up";
  {
    const auto loading = registry->BeginLoad("m", "checkpoints/c");
    ASSERT_TRUE(loading.ok()) << loading.status();
    ASSERT_TRUE(registry->Load(**loading).ok());
  }
  EXPECT_TRUE(registry->Uses("checkpoints/c"));
  EXPECT_THAT(Ids(*registry), ElementsAre("m"));
  EXPECT_TRUE(absl::IsInvalidArgument(
      registry->BeginLoad("../up", "checkpoints/c").status()));
}

TEST_F(RegistryTest, AnUnknownModelIsToldWhatIsThere) {
  AddCheckpoint("c");
  const auto registry = NewRegistry();
  const auto nothing = registry->Find("x").status();
  EXPECT_TRUE(absl::IsNotFound(nothing)) << nothing;
  EXPECT_THAT(Message(nothing), HasSubstr("no model is loaded"));
  ASSERT_TRUE(registry->Load("b", "checkpoints/c").ok());
  ASSERT_TRUE(registry->Load("a", "checkpoints/c").ok());
  EXPECT_EQ(Message(registry->Find("x").status()),
            "model 'x' is not loaded; loaded are: a, b");
  EXPECT_TRUE(absl::IsNotFound(registry->Unload("x")));
}

TEST_F(RegistryTest, LoadingOverANameReplacesItAndCountsItsVersion) {
  AddCheckpoint("two", 2);
  AddCheckpoint("four", 4);
  const auto registry = NewRegistry();
  const auto first = registry->Load("m", "checkpoints/two");
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(registry->Load("m", "checkpoints/four").ok());
  const auto now = registry->Find("m");
  ASSERT_TRUE(now.ok());
  EXPECT_EQ((*first)->version(), 1);
  EXPECT_EQ((*now)->version(), 2);
  EXPECT_FLOAT_EQ(Answer(**now, 1, 0), 8.5);
  // Whoever holds the old version finishes on it.
  EXPECT_FLOAT_EQ(Answer(**first, 1, 0), 4.5);
  EXPECT_TRUE(registry->Uses("checkpoints/four"));
  EXPECT_FALSE(registry->Uses("checkpoints/two"));
}

TEST_F(RegistryTest, AFailedLoadLeavesWhatWasServed) {
  AddCheckpoint("good");
  AddBundle("bad");
  std::ofstream(root_ / "bundles/bad/model.safetensors", std::ios::app) << "x";
  const auto registry = NewRegistry();
  ASSERT_TRUE(registry->Load("m", "checkpoints/good").ok());
  const auto status = registry->Load("m", "bundles/bad").status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  const auto still = registry->Find("m");
  ASSERT_TRUE(still.ok());
  EXPECT_EQ((*still)->version(), 1);
}

TEST_F(RegistryTest, ADamagedBundleIsNotLoaded) {
  AddBundle("b");
  const auto file = root_ / "bundles/b/model.safetensors";
  const auto size = std::filesystem::file_size(file);
  {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(static_cast<std::streamoff>(size - 1));
    stream.put('\x01');  // the same length: only the digest tells
  }
  const auto status = NewRegistry()->Load("m", "bundles/b").status();
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
}

TEST_F(RegistryTest, ARestartServesWhatWasServed) {
  AddCheckpoint("c", 3);
  AddBundle("b");
  {
    const auto registry = NewRegistry();
    ASSERT_TRUE(registry->Load("float", "checkpoints/c").ok());
    ASSERT_TRUE(registry->Load("float", "checkpoints/c").ok());
    ASSERT_TRUE(registry->Load("int8", "bundles/b").ok());
    ASSERT_TRUE(registry->Load("gone", "bundles/b").ok());
    ASSERT_EQ(registry->Unload("gone"), absl::OkStatus());
  }
  telemetry::Metrics metrics;
  const auto registry = NewRegistry(&metrics);
  EXPECT_TRUE(registry->List().empty());
  ASSERT_EQ(registry->Restore(), absl::OkStatus());
  EXPECT_THAT(Ids(*registry), ElementsAre("float", "int8"));
  const auto model = registry->Find("float");
  ASSERT_TRUE(model.ok());
  EXPECT_EQ((*model)->version(), 2);
  EXPECT_FLOAT_EQ(Answer(**model, 1, 0), 6.5);
  EXPECT_THAT(telemetry::Collect(metrics).Value("octet_models_loaded"),
              Optional(2));
}

TEST_F(RegistryTest, AFirstStartHasNothingToRestore) {
  EXPECT_EQ(NewRegistry()->Restore(), absl::OkStatus());
}

TEST_F(RegistryTest, AModelThatCannotBeRestoredIsSkippedAndRemembered) {
  AddCheckpoint("good");
  AddCheckpoint("lost");
  AddCheckpoint("lost-too");
  {
    const auto registry = NewRegistry();
    ASSERT_TRUE(registry->Load("a", "checkpoints/lost").ok());
    ASSERT_TRUE(registry->Load("b", "checkpoints/good").ok());
    ASSERT_TRUE(registry->Load("c", "checkpoints/lost-too").ok());
  }
  ASSERT_EQ(checkpoints_.Remove("lost"), absl::OkStatus());
  ASSERT_EQ(checkpoints_.Remove("lost-too"), absl::OkStatus());
  telemetry::Metrics metrics;
  const auto registry = NewRegistry(&metrics);
  const absl::Status status = registry->Restore();
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(Message(status), HasSubstr("model 'a'"));
  EXPECT_THAT(Message(status), HasSubstr("(and 1 more)"));
  EXPECT_THAT(Ids(*registry), ElementsAre("b"));
  EXPECT_FALSE(registry->Uses("checkpoints/lost"));
  EXPECT_THAT(telemetry::Collect(metrics).Value("octet_models_failed"),
              Optional(2));

  const absl::Status asked = registry->Find("a").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(asked)) << asked;
  EXPECT_THAT(Message(asked), HasSubstr("checkpoints/lost"));

  // Something else is loaded meanwhile; the lost one comes back and is found
  // by the next restart; what is unloaded is forgotten.
  ASSERT_TRUE(registry->Load("d", "checkpoints/good").ok());
  ASSERT_EQ(registry->Unload("c"), absl::OkStatus());
  AddCheckpoint("lost");
  const auto restarted = NewRegistry();
  EXPECT_EQ(restarted->Restore(), absl::OkStatus());
  EXPECT_THAT(Ids(*restarted), ElementsAre("a", "b", "d"));
}

TEST_F(RegistryTest, LoadingAFailedModelAgainMendsIt) {
  AddCheckpoint("lost");
  ASSERT_TRUE(NewRegistry()->Load("a", "checkpoints/lost").ok());
  ASSERT_EQ(checkpoints_.Remove("lost"), absl::OkStatus());
  telemetry::Metrics metrics;
  const auto registry = NewRegistry(&metrics);
  EXPECT_FALSE(registry->Restore().ok());
  AddCheckpoint("found");
  ASSERT_TRUE(registry->Load("a", "checkpoints/found").ok());
  EXPECT_TRUE(registry->Find("a").ok());
  EXPECT_EQ((*registry->Find("a"))->version(), 2);
  EXPECT_THAT(telemetry::Collect(metrics).Value("octet_models_failed"),
              Optional(0));
}

TEST_F(RegistryTest, ADamagedStateFileIsReportedNotGuessed) {
  for (const char* text :
       {"", "{", "[]", R"({"format_version": 3, "models": []})",
        R"({"format_version": 2, "models": [{"id": "a", "last_version": 1}]})",
        R"({"format_version": 2, "models": [{"id": "a", "last_version": 1,
             "versions": [{"version": 1, "source": "bundles/x",
                           "traffic_share": 1.5}]}]})",
        R"({"format_version": 2, "models": [{"id": "a", "last_version": 1,
             "versions": [{"version": 1, "source": "bundles/x",
                           "traffic_share": 1},
                          {"version": 1, "source": "bundles/y",
                           "traffic_share": 0}]}]})",
        R"({"format_version": 1})",
        R"({"format_version": 1, "models": [{"id": "a"}]})",
        R"({"format_version": 1, "models": [3]})",
        R"({"format_version": 1, "models": [
             {"id": "a", "source": "bundles/x", "version": 1},
             {"id": "a", "source": "bundles/y", "version": 1}]})"}) {
    std::ofstream(state_file_, std::ios::trunc) << text;
    const absl::Status status = NewRegistry()->Restore();
    EXPECT_TRUE(absl::IsDataLoss(status)) << text << ": " << status;
    EXPECT_THAT(Message(status), HasSubstr("models.json"));
  }
}

TEST_F(RegistryTest, ReadersSeeOneVersionOrTheOtherWhileItIsSwapped) {
  AddCheckpoint("two", 2);
  AddCheckpoint("four", 4);
  telemetry::Metrics metrics;
  const auto registry = NewRegistry(&metrics);
  ASSERT_TRUE(registry->Load("m", "checkpoints/two").ok());
  std::atomic<bool> done = false;
  std::atomic<int> answers = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      int64_t last_version = 0;
      do {
        const auto model = registry->Find("m");
        ASSERT_TRUE(model.ok()) << model.status();
        EXPECT_GE((*model)->version(), last_version);
        last_version = (*model)->version();
        EXPECT_FLOAT_EQ(Answer(**model, 1, 0),
                        (*model)->source() == "checkpoints/two" ? 4.5 : 8.5);
        ++answers;
      } while (!done);
    });
  }
  for (int i = 0; i < 20; ++i) {
    const auto source = i % 2 == 0 ? "checkpoints/four" : "checkpoints/two";
    ASSERT_TRUE(registry->Load("m", source).ok());
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ((*registry->Find("m"))->version(), 21);
  EXPECT_THAT(
      telemetry::Collect(metrics).Value("octet_rows_total{model=\"m\"}"),
      Optional(answers.load()));
}

TEST_F(RegistryTest, UnloadingLetsHoldersFinishAndTakesTheSeriesAway) {
  AddBundle("b");
  telemetry::Metrics metrics;
  const auto registry = NewRegistry(&metrics);
  const auto held = registry->Load("m", "bundles/b");
  ASSERT_TRUE(held.ok()) << held.status();
  Answer(**held, 1, 2);
  EXPECT_GT(telemetry::Collect(metrics).CountWith("model=\"m\""), 0);
  ASSERT_EQ(registry->Unload("m"), absl::OkStatus());
  EXPECT_TRUE(absl::IsNotFound(registry->Find("m").status()));
  EXPECT_NEAR(Answer(**held, 1, 2), 12.5, 0.1);
  EXPECT_EQ(telemetry::Collect(metrics).CountWith("model=\"m\""), 0);
}

// What a full disk does: the state cannot be written anew.
TEST_F(RegistryTest, WhatCannotBeSavedIsUnloadedAllTheSame) {
  AddBundle("b");
  const auto registry = NewRegistry();
  ASSERT_TRUE(registry->Load("m", "bundles/b").ok());
  const auto aside = bundle::AsideOf(state_file_);
  std::filesystem::create_directory(aside);
  EXPECT_FALSE(registry->Load("n", "bundles/b").ok());
  ASSERT_EQ(registry->Unload("m"), absl::OkStatus());
  EXPECT_TRUE(absl::IsNotFound(registry->Find("m").status()));
  EXPECT_FALSE(registry->Uses("bundles/b"));
  std::filesystem::remove(aside);
  ASSERT_TRUE(registry->Load("n", "bundles/b").ok());  // saves both
  const auto restarted = NewRegistry();
  ASSERT_EQ(restarted->Restore(), absl::OkStatus());
  EXPECT_TRUE(absl::IsNotFound(restarted->Find("m").status()));
}

TEST_F(RegistryTest, ALoadedBundleExportsItsBytes) {
  AddBundle("b");
  telemetry::Metrics metrics;
  const auto registry = NewRegistry(&metrics);
  const auto model = registry->Load("m", "bundles/b");
  ASSERT_TRUE(model.ok()) << model.status();
  const auto scrape = telemetry::Collect(metrics);
  const auto bytes = [&](const std::string& precision) {
    return scrape.Value("octet_weights_bytes{model=\"m\",precision=\"" +
                        precision + "\"}");
  };
  EXPECT_THAT(bytes("int8"), Optional(6 + 3 * 4));  // codes and scales of fc1
  EXPECT_THAT(bytes("fp16"), Optional(3 * 2));      // fc2
  EXPECT_THAT(bytes("bf16"), Optional(0));
  EXPECT_THAT(bytes("fp32"), Optional(4));  // its bias
  EXPECT_THAT(scrape.Value("octet_compression_ratio{model=\"m\"}"),
              Optional(testing::DoubleEq(40.0 / 28)));
  EXPECT_THAT(scrape.Value("octet_linear_compression_ratio{model=\"m\"}"),
              Optional(testing::DoubleEq(36.0 / 24)));
  EXPECT_THAT(scrape.Value("octet_model_resident_bytes{model=\"m\"}"),
              Optional((*model)->model().resident_bytes()));
  EXPECT_EQ(scrape.CountWith("octet_kernel_info{isa=\"" + (*model)->isa()), 1);
}

}  // namespace
}  // namespace octet::serving
