#include "server/serving/background.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>

namespace octet::serving {
namespace {

constexpr int kLowestPriority = 19;

double ThreadCpuSeconds() {
  constexpr double kSecondsPerNanosecond = 1e-9;
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) +
         static_cast<double>(time.tv_nsec) * kSecondsPerNanosecond;
}

}  // namespace

// Linux gives every thread a priority of its own, by its thread id.
void LowerPriority() {
  const auto thread = static_cast<id_t>(syscall(SYS_gettid));
  (void)setpriority(PRIO_PROCESS, thread, kLowestPriority);
}

CpuMeter::CpuMeter(telemetry::Metrics* metrics)
    : metrics_(metrics), charged_(ThreadCpuSeconds()) {}

void CpuMeter::Charge(std::string_view work) {
  const double now = ThreadCpuSeconds();
  if (metrics_ != nullptr) metrics_->WatchCpu(work, now - charged_);
  charged_ = now;
}

}  // namespace octet::serving
