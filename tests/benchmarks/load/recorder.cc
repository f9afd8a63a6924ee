#include "tests/benchmarks/load/recorder.h"

#include <sys/resource.h>

#include <algorithm>
#include <cstddef>

#include "absl/time/clock.h"

namespace octet::benchmarks {
namespace {

absl::Duration OwnCpu() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return absl::DurationFromTimeval(usage.ru_utime) +
         absl::DurationFromTimeval(usage.ru_stime);
}

// The smallest value that `share` of all do not exceed.
double Quantile(const std::vector<double>& sorted, double share) {
  const auto index = static_cast<size_t>(share * sorted.size());
  return sorted[std::min(index, sorted.size() - 1)];
}

}  // namespace

void Recorder::Begin() {
  const std::lock_guard lock(mutex_);
  on_ = true;
  begin_ = absl::Now();
  cpu_ = OwnCpu();
}

void Recorder::End() {
  const std::lock_guard lock(mutex_);
  on_ = false;
  end_ = absl::Now();
  cpu_ = OwnCpu() - cpu_;
}

void Recorder::Answered(const std::string& code, absl::Duration latency) {
  const std::lock_guard lock(mutex_);
  if (!on_) return;
  milliseconds_[code].push_back(absl::ToDoubleMilliseconds(latency));
}

nlohmann::json Recorder::Summary() const {
  const std::lock_guard lock(mutex_);
  const double seconds = absl::ToDoubleSeconds(end_ - begin_);
  nlohmann::json codes = nlohmann::json::object();
  size_t ok = 0;
  for (const auto& [code, latencies] : milliseconds_) {
    std::vector<double> sorted = latencies;
    std::sort(sorted.begin(), sorted.end());
    codes[code] = {{"count", sorted.size()},
                   {"p50_ms", Quantile(sorted, 0.50)},
                   {"p90_ms", Quantile(sorted, 0.90)},
                   {"p99_ms", Quantile(sorted, 0.99)},
                   {"max_ms", sorted.back()}};
    if (code == "OK") ok = sorted.size();
  }
  return {{"seconds", seconds},
          {"per_second", static_cast<double>(ok) / seconds},
          {"client_cores", absl::ToDoubleSeconds(cpu_) / seconds},
          {"codes", codes}};
}

}  // namespace octet::benchmarks
