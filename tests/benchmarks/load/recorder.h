// How a run went: one latency per answer, by status code.

#ifndef OCTET_TESTS_BENCHMARKS_LOAD_RECORDER_H_
#define OCTET_TESTS_BENCHMARKS_LOAD_RECORDER_H_

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "nlohmann/json.hpp"

namespace octet::benchmarks {

// Counts only what is answered between Begin and End: what comes before warms
// up, what comes after is left over. Safe to use from many threads.
class Recorder {
 public:
  void Begin();
  void End();

  // `latency` counts from the moment the request was due. `code` is a name
  // such as "OK".
  void Answered(const std::string& code, absl::Duration latency);

  // {"seconds", "per_second" of those answered OK, "client_cores": CPU seconds
  // per second, "codes": {code: {"count", "p50_ms", "p90_ms", "p99_ms",
  // "max_ms"}}}
  nlohmann::json Summary() const;

 private:
  mutable std::mutex mutex_;
  bool on_ = false;
  absl::Time begin_;
  absl::Time end_;
  absl::Duration cpu_;
  std::map<std::string, std::vector<double>> milliseconds_;  // by code
};

}  // namespace octet::benchmarks

#endif  // OCTET_TESTS_BENCHMARKS_LOAD_RECORDER_H_
