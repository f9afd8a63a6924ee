// Serves /metrics over HTTP.

#ifndef OCTET_SERVER_TELEMETRY_EXPOSER_H_
#define OCTET_SERVER_TELEMETRY_EXPOSER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/telemetry/metrics.h"

namespace octet::telemetry {

class Exposer {
 public:
  // UNAVAILABLE when `address` ("0.0.0.0:8002") cannot be bound.
  static absl::StatusOr<std::unique_ptr<Exposer>> Start(
      const std::string& address, const Metrics& metrics);
  ~Exposer();

  int port() const;  // the one that was bound, when 0 was asked for

 private:
  class Impl;
  explicit Exposer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace octet::telemetry

#endif  // OCTET_SERVER_TELEMETRY_EXPOSER_H_
