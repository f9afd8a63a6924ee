#include "server/quantization/job/operations.h"

#include <filesystem>
#include <new>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "server/bundle/atomic_file.h"
#include "server/quantization/job/operation_file.h"
#include "tests/server/quantization/small_checkpoint.h"

namespace octet::quantization {
namespace {

class OperationsTest : public ::testing::Test {
 protected:
  OperationsTest() { Open(); }

  void Open(size_t max_waiting = 8) {
    operations_.reset();
    auto opened = Operations::Open(
        directory_.path(), max_waiting,
        [this](const std::string& id) { return published_.contains(id); });
    ASSERT_THAT(opened, IsOk());
    operations_ = *std::move(opened);
  }

  std::string Start(OperationBody body) {
    auto operation =
        operations_->Start("checkpoint", "bundle", std::move(body));
    EXPECT_THAT(operation, IsOk());
    return operation.ok() ? operation->id : "";
  }

  Operation AwaitDone(const std::string& id) {
    while (true) {
      const auto operation = operations_->Get(id);
      if (!operation.ok() || operation->done()) return *operation;
      absl::SleepFor(absl::Milliseconds(1));
    }
  }

  // What a SIGKILL leaves: a file that says "running".
  std::filesystem::path LeaveRunning() const {
    Operation running;
    running.id = "20260101-000000-abcdef";
    running.bundle = "bundle";
    running.state = OperationState::kRunning;
    running.create_time = absl::Now();
    running.end_time = absl::InfinitePast();
    std::filesystem::path file = directory_.path() / (running.id + ".json");
    EXPECT_THAT(SaveOperation(running, file), IsOk());
    return file;
  }

  const TemporaryDirectory directory_;
  std::set<std::string> published_;  // bundles
  std::unique_ptr<Operations> operations_;
};

absl::Status Succeed(const std::function<void(const Progress&)>& /*progress*/,
                     const std::function<bool()>& /*cancelled*/) {
  return absl::OkStatus();
}

absl::Status RunUntilCancelled(
    const std::function<void(const Progress&)>& on_progress,
    const std::function<bool()>& cancelled) {
  on_progress({.stage = "quantize", .layer = "fc1", .done = 1, .total = 2});
  while (!cancelled()) absl::SleepFor(absl::Milliseconds(1));
  return absl::CancelledError("asked to stop");
}

TEST_F(OperationsTest, SuccessIsRememberedOverARestart) {
  const std::string id = Start(Succeed);
  const Operation done = AwaitDone(id);
  EXPECT_EQ(done.state, OperationState::kSucceeded);

  Open();
  const auto again = operations_->Get(id);
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->state, OperationState::kSucceeded);
  EXPECT_EQ(again->checkpoint, "checkpoint");
  EXPECT_EQ(again->bundle, "bundle");
  EXPECT_EQ(again->create_time, done.create_time);
  EXPECT_EQ(again->end_time, done.end_time);
}

TEST_F(OperationsTest, FailureKeepsItsReasonOverARestart) {
  const std::string id = Start([](const auto&, const auto&) {
    return absl::InvalidArgumentError("tensor 'a' is wrong");
  });
  EXPECT_EQ(AwaitDone(id).state, OperationState::kFailed);
  Open();
  EXPECT_THAT(operations_->Get(id)->error,
              FailsWith(absl::StatusCode::kInvalidArgument, "tensor 'a'"));
}

TEST_F(OperationsTest, InterruptedByACrashIsAborted) {
  operations_.reset();
  LeaveRunning();
  WriteText(directory_.path() / "torn.json", "{\"id\": \"to");

  Open();
  ASSERT_EQ(operations_->List().size(), 1);
  const Operation operation = operations_->List()[0];
  EXPECT_EQ(operation.state, OperationState::kFailed);
  EXPECT_TRUE(absl::IsAborted(operation.error));
  EXPECT_LT(absl::Now() - operation.end_time, absl::Minutes(1));
}

// It died after its bundle was there and before it was said.
TEST_F(OperationsTest, InterruptedWithItsBundlePublishedSucceeded) {
  operations_.reset();
  LeaveRunning();
  published_ = {"bundle"};
  for (int start = 0; start < 2; ++start) {
    Open();
    ASSERT_EQ(operations_->List().size(), 1);
    const Operation operation = operations_->List()[0];
    EXPECT_EQ(operation.state, OperationState::kSucceeded);
    EXPECT_THAT(operation.error, IsOk());
    published_.clear();  // deleted later: it stays a success
  }
}

// What a full disk does: the file cannot be written anew.
TEST_F(OperationsTest, WhatCannotBeSavedKeepsNoServerFromStarting) {
  operations_.reset();
  const std::filesystem::path file = LeaveRunning();
  std::filesystem::create_directory(bundle::AsideOf(file));
  for (int start = 0; start < 2; ++start) {
    Open();
    ASSERT_EQ(operations_->List().size(), 1);
    EXPECT_TRUE(absl::IsAborted(operations_->List()[0].error));
  }
}

TEST_F(OperationsTest, StoppingTheServerAbortsWhatRunsAndWhatWaits) {
  const std::string running = Start(RunUntilCancelled);
  const std::string waiting = Start(Succeed);
  Open();
  for (const std::string& id : {running, waiting}) {
    const auto operation = operations_->Get(id);
    ASSERT_THAT(operation, IsOk());
    EXPECT_EQ(operation->state, OperationState::kFailed);
    EXPECT_TRUE(absl::IsAborted(operation->error));
  }
}

TEST_F(OperationsTest, CancelStopsARunningBody) {
  const std::string id = Start(RunUntilCancelled);
  while (operations_->Get(id)->progress.done == 0) {
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_THAT(operations_->Cancel(id), IsOk());
  EXPECT_EQ(AwaitDone(id).state, OperationState::kCancelled);
  EXPECT_THAT(operations_->Cancel(id),
              FailsWith(absl::StatusCode::kFailedPrecondition, "done"));
}

TEST_F(OperationsTest, CancelledWhileWaitingNeverRunsAndLetsGoOfItsBody) {
  const std::string running = Start(RunUntilCancelled);
  auto held = std::make_shared<bool>(false);
  const std::string waiting = Start([held](const auto&, const auto&) {
    *held = true;
    return absl::OkStatus();
  });
  const auto cancelled = operations_->Cancel(waiting);
  ASSERT_THAT(cancelled, IsOk());
  EXPECT_EQ(cancelled->state, OperationState::kCancelled);
  EXPECT_EQ(held.use_count(), 1);
  operations_->Cancel(running).IgnoreError();
  AwaitDone(running);
  EXPECT_FALSE(*held);
}

TEST_F(OperationsTest, RefusesMoreThanMayWait) {
  Open(/*max_waiting=*/1);
  absl::Notification started;
  const std::string running =
      Start([&](const auto& progress, const auto& cancelled) {
        started.Notify();
        return RunUntilCancelled(progress, cancelled);
      });
  started.WaitForNotification();
  Start(Succeed);
  EXPECT_THAT(operations_->Start("c", "b", Succeed),
              FailsWith(absl::StatusCode::kResourceExhausted, "waiting"));
}

TEST_F(OperationsTest, ListenersSeeEveryStateInOrderAndNoneAfterUnsubscribe) {
  absl::Mutex mutex;
  std::vector<OperationState> seen;
  const int64_t token = operations_->Subscribe([&](const Operation& operation) {
    absl::MutexLock lock(&mutex);
    seen.push_back(operation.state);
  });
  AwaitDone(Start(Succeed));
  operations_->Unsubscribe(token);
  AwaitDone(Start(Succeed));
  absl::MutexLock lock(&mutex);
  EXPECT_EQ(seen, (std::vector<OperationState>{OperationState::kQueued,
                                               OperationState::kRunning,
                                               OperationState::kSucceeded}));
}

TEST_F(OperationsTest, ABodyThatRunsOutOfMemoryFailsAlone) {
  const std::string id = Start(
      [](const auto&, const auto&) -> absl::Status { throw std::bad_alloc(); });
  EXPECT_TRUE(absl::IsResourceExhausted(AwaitDone(id).error));
  EXPECT_EQ(AwaitDone(Start(Succeed)).state, OperationState::kSucceeded);
}

TEST_F(OperationsTest, UnknownIdsAreNotFound) {
  EXPECT_THAT(operations_->Get("nope"),
              FailsWith(absl::StatusCode::kNotFound, "operation 'nope'"));
  EXPECT_THAT(operations_->Cancel("nope"),
              FailsWith(absl::StatusCode::kNotFound, "operation 'nope'"));
}

}  // namespace
}  // namespace octet::quantization
