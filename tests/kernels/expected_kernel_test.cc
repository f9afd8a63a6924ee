// Whoever knows the CPU under the test (tests/arm emulates some) names the
// kernel that has to be found on it.

#include <cstdlib>

#include "gtest/gtest.h"
#include "kernels/cpu_features.h"
#include "kernels/registry.h"

namespace octet::kernels {
namespace {

TEST(SelectKernel, FindsTheOneExpectedOnThisCpu) {
  const char* expected = std::getenv("OCTET_EXPECTED_KERNEL");
  if (expected == nullptr) GTEST_SKIP() << "OCTET_EXPECTED_KERNEL is not set";
  EXPECT_EQ(SelectKernel(HostFeatures()).name, expected);
}

}  // namespace
}  // namespace octet::kernels
