#include "server/rpc/resources/leases.h"

#include <string>

#include "gtest/gtest.h"

namespace octet::rpc {
namespace {

TEST(Leases, OneHolderPerName) {
  Leases leases;
  auto first = leases.Acquire("bundles/a");
  ASSERT_TRUE(first.ok());
  EXPECT_TRUE(absl::IsAborted(leases.Acquire("bundles/a").status()));
  EXPECT_TRUE(leases.Acquire("bundles/b").ok());
  const Lease copy = *first;
  first->reset();
  EXPECT_FALSE(leases.Acquire("bundles/a").ok()) << "a copy still holds it";
}

TEST(Leases, SaysWhoHoldsIt) {
  Leases leases;
  const auto held = leases.Acquire("calibrations/a", "a capture");
  const std::string message(
      leases.Acquire("calibrations/a").status().message());
  EXPECT_EQ(message,
            "a capture is writing 'calibrations/a'; try again when it is done");
}

TEST(Leases, FreeAgainWhenLetGo) {
  Leases leases;
  {
    const auto held = leases.Acquire("bundles/a");
  }
  EXPECT_TRUE(leases.Acquire("bundles/a").ok());
}

}  // namespace
}  // namespace octet::rpc
