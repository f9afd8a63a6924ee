#include "server/telemetry/exposer.h"

#include <exception>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "prometheus/exposer.h"
#include "prometheus/registry.h"
#include "server/telemetry/process_metrics.h"

namespace octet::telemetry {

class Exposer::Impl {
 public:
  // Two threads: one slow scraper must not shut out the other.
  Impl(const std::string& address, const Metrics& metrics)
      : registry_(metrics.registry()), server_(address, /*num_threads=*/2) {
    server_.RegisterCollectable(registry_);
    server_.RegisterCollectable(process_);
  }

  int port() const { return server_.GetListeningPorts().front(); }

 private:
  const std::shared_ptr<prometheus::Registry> registry_;
  const std::shared_ptr<ProcessMetrics> process_ =
      std::make_shared<ProcessMetrics>();
  prometheus::Exposer server_;  // last: it stops before what it reads goes
};

absl::StatusOr<std::unique_ptr<Exposer>> Exposer::Start(
    const std::string& address, const Metrics& metrics) {
  // civetweb reports a port that is taken by throwing.
  try {
    return std::unique_ptr<Exposer>(
        new Exposer(std::make_unique<Impl>(address, metrics)));
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat(
        "metrics address '", address, "' cannot be bound: ", error.what()));
  }
}

Exposer::Exposer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Exposer::~Exposer() = default;

int Exposer::port() const { return impl_->port(); }

}  // namespace octet::telemetry
