// How many CPUs this process may really use:
//
//   min(CPUs of the affinity mask, quotas of its cgroups), at least 1
//
// A quota of q microseconds in each period of p is q / p CPUs, rounded up; it
// holds for a cgroup and everything below, so that all levels from the mount to
// the process's own cgroup count: cpu.max (v2), cpu.cfs_quota_us (v1).

#ifndef OCTET_KERNELS_USABLE_CPUS_H_
#define OCTET_KERNELS_USABLE_CPUS_H_

#include <cstddef>
#include <optional>
#include <string>

namespace octet::kernels {

// CPUs of the affinity mask.
size_t AffinityCpus();

// Where the system tells about cgroups. In a container, the mount is often the
// process's own cgroup, while its path is one of the host: levels that are not
// under the mount count for nothing.
struct CgroupFiles {
  std::string mount = "/sys/fs/cgroup";
  std::string self = "/proc/self/cgroup";
};

// The smallest quota in CPUs; none where no level has one.
std::optional<size_t> CgroupQuotaCpus(const CgroupFiles& files = {});

size_t UsableCpus(const CgroupFiles& files = {});

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_USABLE_CPUS_H_
