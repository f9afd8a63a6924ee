// The series of each RPC method, found with a shared lock and no allocation
// once a method is known.

#ifndef OCTET_SERVER_TELEMETRY_RPC_SERIES_H_
#define OCTET_SERVER_TELEMETRY_RPC_SERIES_H_

#include <array>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>

#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace octet::telemetry {

inline constexpr size_t kCodes = 17;  // canonical codes, OK to UNAUTHENTICATED

class RpcSeries {
 public:
  explicit RpcSeries(prometheus::Registry& registry);

  struct Method {
    std::array<prometheus::Counter*, kCodes> requests;
    prometheus::Histogram* duration;
    prometheus::Gauge* in_flight;
    prometheus::Counter* received;
    prometheus::Counter* sent;

    prometheus::Counter& Requests(std::string_view code) const;
  };

  // Adds the method when it is new. The series live as long as this object's
  // registry.
  const Method& Find(std::string_view method);

 private:
  const Method& Add(std::string_view method);

  prometheus::Family<prometheus::Counter>& requests_;
  prometheus::Family<prometheus::Histogram>& duration_;
  prometheus::Family<prometheus::Gauge>& in_flight_;
  prometheus::Family<prometheus::Counter>& message_bytes_;
  std::shared_mutex mutex_;  // guards what follows
  std::map<std::string, std::unique_ptr<const Method>, std::less<>> methods_;
};

}  // namespace octet::telemetry

#endif  // OCTET_SERVER_TELEMETRY_RPC_SERIES_H_
