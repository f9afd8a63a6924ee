#include "client/lib/retry.h"

#include "gtest/gtest.h"

namespace octet::client {
namespace {

TEST(Backoff, DoublesUpToTheLongestWaitAndEndsAfterItsAttempts) {
  Backoff backoff({.max_attempts = 5,
                   .first = absl::Milliseconds(100),
                   .longest = absl::Milliseconds(300)});
  for (const int whole : {100, 200, 300, 300}) {
    absl::Duration wait;
    ASSERT_TRUE(backoff.Next(&wait));
    EXPECT_GE(wait, absl::Milliseconds(whole) / 2);
    EXPECT_LE(wait, absl::Milliseconds(whole));
  }
  absl::Duration wait;
  EXPECT_FALSE(backoff.Next(&wait));
  backoff.Progressed();
  ASSERT_TRUE(backoff.Next(&wait));
  EXPECT_LE(wait, absl::Milliseconds(100));
}

TEST(ConnectionBroke, KnowsALostTransportFromARefusal) {
  EXPECT_TRUE(ConnectionBroke(absl::UnavailableError("Socket closed")));
  EXPECT_TRUE(ConnectionBroke(
      absl::InternalError("Received RST_STREAM with error code 2")));
  EXPECT_TRUE(ConnectionBroke(absl::UnknownError("Stream removed")));
  EXPECT_FALSE(ConnectionBroke(absl::InternalError("bug")));
  EXPECT_FALSE(ConnectionBroke(absl::InvalidArgumentError("RST_STREAM")));
  EXPECT_FALSE(ConnectionBroke(absl::OkStatus()));
}

}  // namespace
}  // namespace octet::client
