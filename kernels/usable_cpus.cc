#include "kernels/usable_cpus.h"

#include <sched.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <thread>

namespace octet::kernels {
namespace {

constexpr size_t kUnlimited = std::numeric_limits<size_t>::max();

size_t CpusOf(int64_t quota, int64_t period) {
  if (quota <= 0 || period <= 0) return kUnlimited;
  return static_cast<size_t>((quota - 1) / period + 1);
}

// `directory` of one cgroup; without a quota, or not there: unlimited.
size_t QuotaV2(const std::string& directory) {
  std::ifstream file(directory + "/cpu.max");
  std::string quota;  // a number, or "max"
  int64_t period = 0;
  if (!(file >> quota >> period)) return kUnlimited;
  return CpusOf(std::strtoll(quota.c_str(), nullptr, 10), period);
}

size_t QuotaV1(const std::string& directory) {
  std::ifstream quota_file(directory + "/cpu.cfs_quota_us");
  std::ifstream period_file(directory + "/cpu.cfs_period_us");
  int64_t quota = 0;  // -1: none
  int64_t period = 0;
  if (!(quota_file >> quota) || !(period_file >> period)) return kUnlimited;
  return CpusOf(quota, period);
}

// The smallest of `quota` over the mount and every level of `path` below it.
size_t SmallestQuota(const std::string& mount, const std::string& path,
                     size_t (*quota)(const std::string&)) {
  size_t smallest = quota(mount);
  for (size_t end = path.find('/', 1); path.size() > 1;
       end = path.find('/', end + 1)) {
    smallest = std::min(smallest, quota(mount + path.substr(0, end)));
    if (end == std::string::npos) break;
  }
  return smallest;
}

}  // namespace

size_t AffinityCpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    return static_cast<size_t>(CPU_COUNT(&set));
  }
  return std::thread::hardware_concurrency();
}

std::optional<size_t> CgroupQuotaCpus(const CgroupFiles& files) {
  size_t smallest =
      std::min(QuotaV2(files.mount), QuotaV1(files.mount + "/cpu"));
  std::ifstream self(files.self);
  for (std::string line; std::getline(self, line);) {
    // hierarchy:controllers:/path, without controllers in v2.
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string path = line.substr(second + 1);
    const std::string controllers =
        "," + line.substr(first + 1, second - first - 1) + ",";
    if (controllers == ",,") {
      smallest = std::min(smallest, SmallestQuota(files.mount, path, QuotaV2));
    } else if (controllers.find(",cpu,") != std::string::npos) {
      smallest = std::min(smallest,
                          SmallestQuota(files.mount + "/cpu", path, QuotaV1));
    }
  }
  if (smallest == kUnlimited) return std::nullopt;
  return smallest;
}

size_t UsableCpus(const CgroupFiles& files) {
  const size_t quota = CgroupQuotaCpus(files).value_or(kUnlimited);
  return std::max<size_t>(std::min(AffinityCpus(), quota), 1);
}

}  // namespace octet::kernels
