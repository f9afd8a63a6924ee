#include "server/rpc/calls/client_limits.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/telemetry/metrics.h"

namespace octet::rpc {
namespace {

using ::testing::HasSubstr;

class ClientLimitsTest : public ::testing::Test {
 protected:
  telemetry::Metrics metrics_;
  telemetry::SecurityMetrics security_{metrics_.registry()};
  ClientLimits limits_{{.calls = 2, .bytes = 100}, &security_};
};

TEST_F(ClientLimitsTest, CallsAreBoundedForEachClientByItself) {
  ASSERT_TRUE(limits_.Enter("a").ok());
  ASSERT_TRUE(limits_.Enter("a").ok());
  const absl::Status refused = limits_.Enter("a");
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("'a' has 2 calls"));
  EXPECT_TRUE(limits_.Enter("b").ok());
  limits_.Leave("a");
  EXPECT_TRUE(limits_.Enter("a").ok());
}

TEST_F(ClientLimitsTest, BytesAreBoundedUntilTheyAreDropped) {
  ASSERT_TRUE(limits_.Enter("a").ok());
  ASSERT_TRUE(limits_.Hold("a", 60).ok());
  ASSERT_TRUE(limits_.Hold("a", 40).ok());
  const absl::Status refused = limits_.Hold("a", 1);
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("100 bytes"));
  limits_.Drop("a", 60);
  EXPECT_TRUE(limits_.Hold("a", 60).ok());
}

TEST_F(ClientLimitsTest, NothingIsTooLargeByItself) {
  ASSERT_TRUE(limits_.Enter("a").ok());
  ASSERT_TRUE(limits_.Hold("a", 150).ok());
  EXPECT_FALSE(limits_.Hold("a", 1).ok()) << "another request is one too many";
  EXPECT_TRUE(limits_.Hold("a", 1000, /*own=*/150).ok())
      << "its answer goes with it";
}

TEST_F(ClientLimitsTest, AnAnswerBesideOthersCounts) {
  ASSERT_TRUE(limits_.Enter("a").ok());
  ASSERT_TRUE(limits_.Hold("a", 30).ok());
  ASSERT_TRUE(limits_.Hold("a", 30).ok());
  EXPECT_FALSE(limits_.Hold("a", 50, /*own=*/30).ok());
  EXPECT_TRUE(limits_.Hold("a", 40, /*own=*/30).ok());
}

TEST_F(ClientLimitsTest, ZeroIsAnyNumber) {
  ClientLimits none({.calls = 0, .bytes = 0}, &security_);
  for (int i = 0; i < 5000; ++i) ASSERT_TRUE(none.Enter("a").ok());
  EXPECT_TRUE(none.Hold("a", uint64_t{1} << 40).ok());
  EXPECT_TRUE(none.Hold("a", uint64_t{1} << 40).ok());
}

TEST_F(ClientLimitsTest, AClientThatLeftIsForgotten) {
  ASSERT_TRUE(limits_.Enter("a").ok());
  ASSERT_TRUE(limits_.Hold("a", 100).ok());
  limits_.Drop("a", 100);
  limits_.Leave("a");
  ASSERT_TRUE(limits_.Enter("a").ok());
  EXPECT_TRUE(limits_.Hold("a", 100).ok());
}

}  // namespace
}  // namespace octet::rpc
