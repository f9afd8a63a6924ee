// The number of CPUs comes from the affinity mask and from the quotas of all
// cgroups around the process. Files of made-up systems stand for real ones.

#include "kernels/usable_cpus.h"

#include <sched.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "gtest/gtest.h"
#include "kernels/thread_pool.h"

namespace octet::kernels {
namespace {

class CgroupQuota : public testing::Test {
 protected:
  CgroupQuota() {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    root_ = std::filesystem::path(testing::TempDir()) / "octet_cgroup" /
            info->name();
    std::filesystem::remove_all(root_);
    files_ = {.mount = (root_ / "mount").string(),
              .self = (root_ / "self").string()};
    std::filesystem::create_directories(files_.mount);
  }
  ~CgroupQuota() override { std::filesystem::remove_all(root_); }

  // `path` under the mount.
  void Write(const std::string& path, const std::string& content) {
    const auto file = std::filesystem::path(files_.mount) / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << content << "\n";
  }
  void WriteSelf(const std::string& content) {
    std::ofstream(files_.self) << content;
  }
  std::optional<size_t> Cpus() const { return CgroupQuotaCpus(files_); }

  CgroupFiles files_;

 private:
  std::filesystem::path root_;
};

TEST_F(CgroupQuota, NoFilesNoQuota) { EXPECT_EQ(Cpus(), std::nullopt); }

TEST_F(CgroupQuota, V2OfAContainerIsAtTheMount) {
  Write("cpu.max", "200000 100000");
  WriteSelf("0::/\n");
  EXPECT_EQ(Cpus(), 2);
}

TEST_F(CgroupQuota, PartsOfACpuAreRoundedUp) {
  Write("cpu.max", "250000 100000");
  EXPECT_EQ(Cpus(), 3);
  Write("cpu.max", "1000 100000");
  EXPECT_EQ(Cpus(), 1);
}

TEST_F(CgroupQuota, MaxIsNone) {
  Write("cpu.max", "max 100000");
  WriteSelf("0::/\n");
  EXPECT_EQ(Cpus(), std::nullopt);
}

TEST_F(CgroupQuota, NonsenseIsNone) {
  for (const char* content : {"", "100000", "x y", "-1 100000", "100000 0"}) {
    Write("cpu.max", content);
    EXPECT_EQ(Cpus(), std::nullopt) << content;
  }
  WriteSelf("nonsense\n0::\n:\n\n");
  EXPECT_EQ(Cpus(), std::nullopt);
}

TEST_F(CgroupQuota, V2TheSmallestOfAllLevelsHolds) {
  WriteSelf("0::/system.slice/octet.service/worker\n");
  Write("system.slice/cpu.max", "800000 100000");
  EXPECT_EQ(Cpus(), 8);
  Write("system.slice/octet.service/cpu.max", "300000 100000");
  EXPECT_EQ(Cpus(), 3);
  Write("system.slice/octet.service/worker/cpu.max", "max 100000");
  EXPECT_EQ(Cpus(), 3);
  Write("system.slice/octet.service/worker/cpu.max", "50000 100000");
  EXPECT_EQ(Cpus(), 1);
}

TEST_F(CgroupQuota, ASiblingsQuotaIsNotOurs) {
  WriteSelf("0::/a/b\n");
  Write("a/bc/cpu.max", "100000 100000");
  Write("b/cpu.max", "100000 100000");
  EXPECT_EQ(Cpus(), std::nullopt);
}

TEST_F(CgroupQuota, V1OfAContainerIsAtTheMountAndItsPathIsTheHosts) {
  WriteSelf("5:memory:/docker/0123\n4:cpuacct,cpu:/docker/0123\n0::/\n");
  Write("cpu/cpu.cfs_quota_us", "150000");
  Write("cpu/cpu.cfs_period_us", "100000");
  EXPECT_EQ(Cpus(), 2);
}

TEST_F(CgroupQuota, V1TheSmallestOfAllLevelsHolds) {
  WriteSelf("4:cpu,cpuacct:/a/b\n");
  Write("cpu/cpu.cfs_quota_us", "-1");
  Write("cpu/cpu.cfs_period_us", "100000");
  EXPECT_EQ(Cpus(), std::nullopt);
  Write("cpu/a/cpu.cfs_quota_us", "400000");
  Write("cpu/a/cpu.cfs_period_us", "100000");
  EXPECT_EQ(Cpus(), 4);
  Write("cpu/a/b/cpu.cfs_quota_us", "50000");
  Write("cpu/a/b/cpu.cfs_period_us", "50000");
  EXPECT_EQ(Cpus(), 1);
}

TEST_F(CgroupQuota, LowersTheAffinityAndNeverRaisesIt) {
  EXPECT_EQ(UsableCpus(files_), AffinityCpus());
  Write("cpu.max", "100000 100000");
  EXPECT_EQ(UsableCpus(files_), 1);
  Write("cpu.max", "99900000 100000");
  EXPECT_EQ(UsableCpus(files_), std::min<size_t>(AffinityCpus(), 999));
}

TEST(UsableCpus, FollowsTheAffinityMask) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  int cpu = 0;
  while (!CPU_ISSET(cpu, &before)) ++cpu;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cpu, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(AffinityCpus(), 1);
  EXPECT_EQ(UsableCpus(), 1);
  EXPECT_EQ(ThreadPool().threads(), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
  EXPECT_EQ(ThreadPool().threads(), UsableCpus());
  EXPECT_EQ(ThreadPool(0).threads(), UsableCpus());
}

}  // namespace
}  // namespace octet::kernels
