// Rows that are fetched by whoever computes them.

#include <algorithm>
#include <atomic>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/serving/scheduler.h"
#include "tests/server/serving/scheduler_fixture.h"

namespace octet::serving {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Optional;

TEST_F(SchedulerTest, RowsAreFetchedOnceByThoseWhoComputeThem) {
  constexpr size_t kRows = 1000;
  std::vector<std::atomic<int>> fetched(kRows);
  SchedulerOptions options;
  options.workers = 3;
  options.batch_rows = 64;
  {
    Scheduler scheduler(options, &metrics_);
    ASSERT_TRUE(
        Submit(scheduler, FetchedStepOf(coded_, -500, kRows, fetched)).ok());
  }
  ASSERT_EQ(results_.size(), 1);
  ASSERT_TRUE(results_[0].ok()) << results_[0].status();
  const model::ModelOutput& output = results_[0]->output;
  ASSERT_EQ(output.rows, kRows);
  EXPECT_GT(results_[0]->decode, absl::ZeroDuration());
  for (const auto& count : fetched) EXPECT_EQ(count, 1);
  for (size_t row = 0; row < kRows; row += 37) {
    EXPECT_EQ(output.values[row],
              Answer(*coded_, static_cast<float>(row) - 500, 1));
  }
}

TEST_F(SchedulerTest, FetchedRowsShareABatchWithOthers) {
  Blocker blocker;
  std::vector<std::atomic<int>> fetched(3);
  {
    Scheduler scheduler(OneWorker(), &metrics_);
    ASSERT_TRUE(scheduler.Submit(blocker.task(exact_)).ok());
    blocker.WaitUntilItRuns();
    ASSERT_TRUE(Submit(scheduler, StepOf(exact_, 5), 0).ok());
    ASSERT_TRUE(
        Submit(scheduler, FetchedStepOf(exact_, 2, 3, fetched), 1).ok());
    ASSERT_TRUE(Submit(scheduler, StepOf(exact_, 2), 2).ok());
    blocker.Release();
  }
  ASSERT_THAT(order_, ElementsAre(0, 1, 2));
  for (const auto& result : results_) ASSERT_TRUE(result.ok());
  EXPECT_THAT(results_[0]->output.values, ElementsAre(24.5F));
  EXPECT_THAT(results_[1]->output.values, ElementsAre(12.5F, 16.5F, 20.5F));
  EXPECT_THAT(results_[2]->output.values, ElementsAre(12.5F));
  EXPECT_THAT(Metric("octet_batch_rows_count{model=\"exact\"}"), Optional(1));
}

TEST_F(SchedulerTest, RowsThatCannotBeFetchedOrComputedFailTheirStepAlone) {
  Blocker blocker;
  std::vector<std::atomic<int>> fetched(300);
  {
    Scheduler scheduler(OneWorker(), &metrics_);
    ASSERT_TRUE(scheduler.Submit(blocker.task(exact_)).ok());
    blocker.WaitUntilItRuns();
    Step gone = FetchedStepOf(exact_, 1, 1, fetched);
    gone.features.fetch = [](size_t, size_t, float*) {
      return absl::InvalidArgumentError("x: the region is smaller");
    };
    ASSERT_TRUE(Submit(scheduler, std::move(gone), 0).ok());
    // Not in its first piece.
    Step infinite = FetchedStepOf(
        exact_, std::numeric_limits<float>::infinity(), 300, fetched);
    infinite.features.fetch = [](size_t row, size_t count, float* to) {
      std::fill_n(to, count * 2, 1.0F);
      if (row <= 271 && 271 < row + count) {
        to[(271 - row) * 2 + 1] = std::numeric_limits<float>::infinity();
      }
      return absl::OkStatus();
    };
    ASSERT_TRUE(Submit(scheduler, std::move(infinite), 1).ok());
    ASSERT_TRUE(Submit(scheduler, StepOf(exact_, 2), 2).ok());
    blocker.Release();
  }
  std::map<int, absl::Status> by_name = StatusByName();
  ASSERT_EQ(by_name.size(), 3);
  EXPECT_EQ(by_name[0], absl::InvalidArgumentError("x: the region is smaller"));
  EXPECT_TRUE(absl::IsInvalidArgument(by_name[1])) << by_name[1];
  EXPECT_THAT(std::string(by_name[1].message()),
              HasSubstr("features[271][1]: is inf"));
  EXPECT_TRUE(by_name[2].ok()) << by_name[2];
}

TEST_F(SchedulerTest, TheLastStepOfABatchMayFailAlone) {
  Blocker blocker;
  std::vector<std::atomic<int>> fetched(1);
  {
    Scheduler scheduler(OneWorker(), &metrics_);
    ASSERT_TRUE(scheduler.Submit(blocker.task(exact_)).ok());
    blocker.WaitUntilItRuns();
    ASSERT_TRUE(Submit(scheduler, StepOf(exact_, 2), 0).ok());
    Step gone = FetchedStepOf(exact_, 1, 1, fetched);
    gone.features.fetch = [](size_t, size_t, float*) {
      return absl::InvalidArgumentError("x: the region is smaller");
    };
    ASSERT_TRUE(Submit(scheduler, std::move(gone), 1).ok());
    blocker.Release();
  }
  std::map<int, absl::Status> by_name = StatusByName();
  ASSERT_EQ(by_name.size(), 2);
  EXPECT_TRUE(by_name[0].ok()) << by_name[0];
  EXPECT_EQ(by_name[1], absl::InvalidArgumentError("x: the region is smaller"));
}

}  // namespace
}  // namespace octet::serving
