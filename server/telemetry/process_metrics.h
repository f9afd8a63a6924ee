// The process_* metrics that Prometheus' own client libraries export, read
// from /proc/self at each scrape.

#ifndef OCTET_SERVER_TELEMETRY_PROCESS_METRICS_H_
#define OCTET_SERVER_TELEMETRY_PROCESS_METRICS_H_

#include <vector>

#include "prometheus/collectable.h"
#include "prometheus/metric_family.h"

namespace octet::telemetry {

// What cannot be read is left out.
class ProcessMetrics : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override;
};

}  // namespace octet::telemetry

#endif  // OCTET_SERVER_TELEMETRY_PROCESS_METRICS_H_
