#include "server/telemetry/process_metrics.h"

#include <unistd.h>

#include <ctime>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace octet::telemetry {
namespace {

double Value(const std::string& name) {
  for (const prometheus::MetricFamily& family : ProcessMetrics().Collect()) {
    if (family.name != name) continue;
    return family.type == prometheus::MetricType::Counter
               ? family.metric.at(0).counter.value
               : family.metric.at(0).gauge.value;
  }
  ADD_FAILURE() << name << " is not collected";
  return 0;
}

TEST(ProcessMetrics, CountsDescriptorsThatAreOpened) {
  const double before = Value("process_open_fds");
  std::vector<int> opened;
  for (int i = 0; i < 20; ++i) opened.push_back(dup(0));
  const double after = Value("process_open_fds");
  for (const int fd : opened) close(fd);
  EXPECT_EQ(after - before, 20);
  EXPECT_EQ(Value("process_open_fds"), before);
}

TEST(ProcessMetrics, CpuTimeGrowsWithWork) {
  const double before = Value("process_cpu_seconds_total");
  const std::clock_t start = std::clock();
  while (std::clock() - start < CLOCKS_PER_SEC / 10) {
  }
  // The kernel counts in ticks of 10 ms.
  EXPECT_GE(Value("process_cpu_seconds_total") - before, 0.05);
}

TEST(ProcessMetrics, MemoryIsInBytes) {
  const double before = Value("process_resident_memory_bytes");
  constexpr size_t kBytes = size_t{64} << 20;
  const std::vector<char> touched(kBytes, 1);
  EXPECT_GE(Value("process_resident_memory_bytes") - before, kBytes / 2);
  EXPECT_EQ(touched.back(), 1);
}

}  // namespace
}  // namespace octet::telemetry
