#include "client/cli/exit_code.h"

#include <map>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::cli {
namespace {

using Code = absl::StatusCode;

TEST(ExitCode, SaysWhatHappenedAndHelpListsIt) {
  const std::map<Code, int> expected = {{Code::kOk, 0},
                                        {Code::kInternal, 1},
                                        {Code::kUnknown, 1},
                                        {Code::kUnimplemented, 1},
                                        {Code::kNotFound, 3},
                                        {Code::kInvalidArgument, 4},
                                        {Code::kOutOfRange, 4},
                                        {Code::kFailedPrecondition, 4},
                                        {Code::kAlreadyExists, 5},
                                        {Code::kUnavailable, 6},
                                        {Code::kAborted, 6},
                                        {Code::kDeadlineExceeded, 6},
                                        {Code::kDataLoss, 7},
                                        {Code::kCancelled, 8},
                                        {Code::kResourceExhausted, 9},
                                        {Code::kPermissionDenied, 10},
                                        {Code::kUnauthenticated, 10}};
  for (const auto& [code, exit_code] : expected) {
    EXPECT_EQ(ExitCode(absl::Status(code, "x")), exit_code)
        << absl::StatusCodeToString(code);
    EXPECT_THAT(kExitCodeHelp,
                testing::HasSubstr("\n  " + std::to_string(exit_code) + " "));
  }
}

TEST(Hint, SaysWhatToChangeAndNamesTheServer) {
  EXPECT_THAT(Hint(absl::UnavailableError("x"), "host:1"),
              testing::AllOf(testing::HasSubstr("host:1"),
                             testing::HasSubstr("--server")));
  EXPECT_EQ(Hint(absl::InvalidArgumentError("says it all"), "host:1"), "");
  EXPECT_EQ(Hint(absl::ResourceExhaustedError("no delay given"), "h"), "");
}

}  // namespace
}  // namespace octet::cli
