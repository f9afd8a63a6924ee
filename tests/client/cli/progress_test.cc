#include "client/cli/progress.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

ProgressState Halfway() {
  ProgressState state;
  state.label = "uploading";
  state.done = 50 << 20;
  state.total = 100 << 20;
  state.elapsed = absl::Seconds(5);
  return state;
}

TEST(RenderProgress, ShowsShareRateAndTimeLeft) {
  EXPECT_EQ(RenderProgress(Halfway(), 80),
            "uploading  [===============>              ]   50%  10.0 MiB/s  "
            "ETA 0:05");
}

TEST(RenderProgress, NeverReachesTheLastColumn) {
  ProgressState state = Halfway();
  state.note = "encoder.layer.11.attention.output.dense";
  for (size_t width = 1; width < 160; ++width) {
    EXPECT_LT(RenderProgress(state, width).size(), width);
  }
}

TEST(RenderProgress, RateOfAResumedUploadCountsOnlyWhatWasSent) {
  ProgressState state = Halfway();
  state.start = 40 << 20;
  EXPECT_THAT(RenderProgress(state, 80), HasSubstr("2.0 MiB/s  ETA 0:25"));
}

TEST(RenderProgress, WithoutATotalThereIsNoBarAndNoEta) {
  ProgressState state = Halfway();
  state.total = 0;
  state.unit = Unit::kSteps;
  state.done = 7;
  const std::string line = RenderProgress(state, 80);
  EXPECT_THAT(line, HasSubstr("7.0"));
  EXPECT_THAT(line, Not(HasSubstr("[")));
  EXPECT_THAT(line, Not(HasSubstr("ETA")));
}

TEST(RenderProgress, MoreThanEverythingIsEverything) {
  ProgressState state = Halfway();
  state.done = state.total * 2;
  const std::string line = RenderProgress(state, 80);
  EXPECT_THAT(line, HasSubstr("[==============================]"));
  EXPECT_THAT(line, HasSubstr("100%"));
}

}  // namespace
}  // namespace octet::cli
