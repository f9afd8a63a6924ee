#include "server/telemetry/security_metrics.h"

#include <string>
#include <utility>

#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/registry.h"

namespace octet::telemetry {

class SecurityMetrics::Impl {
 public:
  explicit Impl(std::shared_ptr<prometheus::Registry> registry)
      : registry_(std::move(registry)),
        refused(prometheus::BuildCounter()
                    .Name("octet_auth_refused_total")
                    .Help("Calls refused for who made them.")
                    .Register(*registry_)),
        reloads(prometheus::BuildCounter()
                    .Name("octet_credentials_reloads_total")
                    .Help("Changed files of certificates and tokens.")
                    .Register(*registry_)),
        expiry(prometheus::BuildGauge()
                   .Name("octet_certificate_expiry_timestamp_seconds")
                   .Help("When the certificate in force ends; 0 without TLS.")
                   .Register(*registry_)
                   .Add({})),
        limited(prometheus::BuildCounter()
                    .Name("octet_client_limited_total")
                    .Help("Calls refused since one client had too many.")
                    .Register(*registry_)) {
    for (const char* reason : {"no_token", "unknown_token", "role"}) {
      refused.Add({{"reason", reason}});
    }
    for (const char* what : {"certificate", "tokens"}) {
      for (const char* result : {"ok", "failed"}) {
        reloads.Add({{"what", what}, {"result", result}});
      }
    }
    for (const char* limit : {"calls", "bytes"}) {
      limited.Add({{"limit", limit}});
    }
  }

  const std::shared_ptr<prometheus::Registry> registry_;
  // Rare events: the families' own lookup is good enough.
  prometheus::Family<prometheus::Counter>& refused;
  prometheus::Family<prometheus::Counter>& reloads;
  prometheus::Gauge& expiry;
  prometheus::Family<prometheus::Counter>& limited;
};

SecurityMetrics::SecurityMetrics(std::shared_ptr<prometheus::Registry> registry)
    : impl_(std::make_unique<Impl>(std::move(registry))) {}

SecurityMetrics::~SecurityMetrics() = default;

void SecurityMetrics::AuthRefused(std::string_view reason) {
  impl_->refused.Add({{"reason", std::string(reason)}}).Increment();
}

void SecurityMetrics::CredentialsReloaded(std::string_view what, bool ok) {
  impl_->reloads
      .Add({{"what", std::string(what)}, {"result", ok ? "ok" : "failed"}})
      .Increment();
}

void SecurityMetrics::CertificateExpiry(double unix_seconds) {
  impl_->expiry.Set(unix_seconds);
}

void SecurityMetrics::ClientLimited(std::string_view limit) {
  impl_->limited.Add({{"limit", std::string(limit)}}).Increment();
}

}  // namespace octet::telemetry
