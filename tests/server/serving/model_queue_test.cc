// Shares of the priorities of one model.

#include "server/serving/model_queue.h"

#include <map>
#include <memory>

#include "gtest/gtest.h"

namespace octet::serving {
namespace {

Waiting TaskOf(Priority priority, size_t rows) {
  Waiting waiting;
  waiting.task = std::make_unique<Task>();
  waiting.task->priority = priority;
  waiting.task->rows = rows;
  return waiting;
}

void PushMany(Priority priority, size_t count, ModelQueue* queue) {
  for (size_t i = 0; i < count; ++i) queue->Push(TaskOf(priority, 1));
}

// How often each priority was among the next `count`.
std::map<Priority, size_t> NextOf(size_t count, ModelQueue* queue) {
  std::map<Priority, size_t> taken;
  for (size_t i = 0; i < count; ++i) ++taken[queue->Take(1).task->priority];
  return taken;
}

TEST(ModelQueue, PrioritiesShareSixteenToFourToOne) {
  ModelQueue queue("m");
  PushMany(Priority::kLow, 50, &queue);
  PushMany(Priority::kNormal, 50, &queue);
  PushMany(Priority::kHigh, 50, &queue);
  auto taken = NextOf(42, &queue);
  EXPECT_NEAR(taken[Priority::kHigh], 32, 1);
  EXPECT_NEAR(taken[Priority::kNormal], 8, 1);
  EXPECT_NEAR(taken[Priority::kLow], 2, 1);
}

TEST(ModelQueue, WhatWasServedBeforeThePauseIsNoDebt) {
  ModelQueue queue("m");
  queue.Push(TaskOf(Priority::kNormal, 1'000'000));
  queue.Take(1);
  ASSERT_TRUE(queue.empty());
  PushMany(Priority::kLow, 100, &queue);
  PushMany(Priority::kNormal, 100, &queue);
  auto taken = NextOf(50, &queue);
  EXPECT_NEAR(taken[Priority::kNormal], 40, 1);
  EXPECT_NEAR(taken[Priority::kLow], 10, 1);
}

TEST(ModelQueue, WhoComesBackSavedUpNoTurns) {
  ModelQueue queue("m");
  PushMany(Priority::kLow, 100, &queue);
  PushMany(Priority::kNormal, 500, &queue);
  NextOf(400, &queue);  // there is some of both
  PushMany(Priority::kHigh, 100, &queue);
  auto taken = NextOf(63, &queue);
  EXPECT_NEAR(taken[Priority::kHigh], 48, 1);
  EXPECT_NEAR(taken[Priority::kNormal], 12, 1);
  EXPECT_NEAR(taken[Priority::kLow], 3, 1);
}

}  // namespace
}  // namespace octet::serving
