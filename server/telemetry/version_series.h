// The series of the versions that are served, so that a new one can be
// compared with the one it stands beside:
//
//   octet_model_version_info{model,version,source}           1
//   octet_model_traffic_share{model,version}                 0 to 1
//   octet_version_rows_total{model,version}                  rows computed
//   octet_version_compute_seconds_total{model,version}       and their time

#ifndef OCTET_SERVER_TELEMETRY_VERSION_SERIES_H_
#define OCTET_SERVER_TELEMETRY_VERSION_SERIES_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/registry.h"
#include "server/telemetry/metrics.h"

namespace octet::telemetry {

class VersionSeries {
 public:
  explicit VersionSeries(prometheus::Registry& registry);

  // Exactly these have series from now on; those that had keep them.
  void Set(const std::vector<VersionDescription>& versions);

  // Nothing for a version without series.
  void Computed(std::string_view model, int64_t version, size_t rows,
                double seconds);

 private:
  struct Version {
    std::string source;
    prometheus::Gauge* info;
    prometheus::Gauge* share;
    prometheus::Counter* rows;
    prometheus::Counter* seconds;
  };
  using Versions = std::map<int64_t, Version>;

  Version Make(const VersionDescription& description);
  void Remove(const Version& version);

  prometheus::Family<prometheus::Gauge>& info_;
  prometheus::Family<prometheus::Gauge>& share_;
  prometheus::Family<prometheus::Counter>& rows_;
  prometheus::Family<prometheus::Counter>& seconds_;
  std::shared_mutex mutex_;  // guards what follows
  std::map<std::string, Versions, std::less<>> models_;
};

}  // namespace octet::telemetry

#endif  // OCTET_SERVER_TELEMETRY_VERSION_SERIES_H_
