#include "server/telemetry/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>

namespace octet::telemetry {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

std::string ReadFile(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Stat {
  double cpu_seconds;
  double threads;
  double start_seconds_since_boot;
  double virtual_bytes;
  double resident_bytes;
};

// Fields of /proc/self/stat by their numbers in proc(5). They are counted from
// the end of the command, field 2, whose name may hold spaces and brackets.
std::optional<Stat> ReadStat() {
  const std::string text = ReadFile("/proc/self/stat");
  const size_t command_end = text.rfind(')');
  if (command_end == std::string::npos) return std::nullopt;
  std::istringstream words(text.substr(command_end + 1));
  const std::vector<std::string> fields{
      std::istream_iterator<std::string>(words), {}};
  constexpr size_t kFirst = 3;
  constexpr size_t kLast = 24;
  if (fields.size() + kFirst <= kLast) return std::nullopt;
  const auto number = [&](size_t field) {
    return std::strtod(fields[field - kFirst].c_str(), nullptr);
  };
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  const double page = static_cast<double>(sysconf(_SC_PAGESIZE));
  return Stat{.cpu_seconds = (number(14) + number(15)) / ticks,
              .threads = number(20),
              .start_seconds_since_boot = number(22) / ticks,
              .virtual_bytes = number(23),
              .resident_bytes = number(kLast) * page};
}

// Seconds since the epoch at which the machine started.
std::optional<double> BootTime() {
  std::ifstream file("/proc/stat");
  for (std::string line; std::getline(file, line);) {
    static constexpr std::string_view kField = "btime ";
    if (line.starts_with(kField)) {
      return std::strtod(line.c_str() + kField.size(), nullptr);
    }
  }
  return std::nullopt;
}

std::optional<double> OpenDescriptors() {
  std::error_code error;
  std::filesystem::directory_iterator entries("/proc/self/fd", error);
  double count = 0;
  for (; !error && entries != std::filesystem::directory_iterator();
       entries.increment(error)) {
    ++count;
  }
  if (error) return std::nullopt;
  return count - 1;  // the iterator's own
}

MetricFamily Family(const char* name, const char* help, MetricType type,
                    double value) {
  prometheus::ClientMetric metric;
  (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) =
      value;
  return {.name = name, .help = help, .type = type, .metric = {metric}};
}

}  // namespace

std::vector<MetricFamily> ProcessMetrics::Collect() const {
  std::vector<MetricFamily> families;
  const auto gauge = [&](const char* name, const char* help, double value) {
    families.push_back(Family(name, help, MetricType::Gauge, value));
  };
  if (const std::optional<Stat> stat = ReadStat()) {
    families.push_back(Family("process_cpu_seconds_total",
                              "User and system CPU time.", MetricType::Counter,
                              stat->cpu_seconds));
    gauge("process_resident_memory_bytes", "Memory in RAM.",
          stat->resident_bytes);
    gauge("process_virtual_memory_bytes", "Address space in use.",
          stat->virtual_bytes);
    gauge("process_threads", "Threads.", stat->threads);
    if (const std::optional<double> boot = BootTime()) {
      gauge("process_start_time_seconds", "Start, since the Unix epoch.",
            *boot + stat->start_seconds_since_boot);
    }
  }
  if (const std::optional<double> open = OpenDescriptors()) {
    gauge("process_open_fds", "Open file descriptors.", *open);
  }
  if (rlimit limit{}; getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    gauge("process_max_fds", "Most file descriptors it may open.",
          static_cast<double>(limit.rlim_cur));
  }
  return families;
}

}  // namespace octet::telemetry
