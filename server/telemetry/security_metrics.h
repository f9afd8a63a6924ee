// What is exported about who may call: refusals, reloads, limits of clients.

#ifndef OCTET_SERVER_TELEMETRY_SECURITY_METRICS_H_
#define OCTET_SERVER_TELEMETRY_SECURITY_METRICS_H_

#include <memory>
#include <string_view>

namespace prometheus {
class Registry;
}

namespace octet::telemetry {

class SecurityMetrics {
 public:
  explicit SecurityMetrics(std::shared_ptr<prometheus::Registry> registry);
  ~SecurityMetrics();

  // octet_auth_refused_total{reason}: "no_token", "unknown_token", "role".
  void AuthRefused(std::string_view reason);

  // octet_credentials_reloads_total{what,result}: "certificate" or "tokens";
  // "ok", or "failed" when the earlier ones stay in force.
  void CredentialsReloaded(std::string_view what, bool ok);

  // octet_certificate_expiry_timestamp_seconds; 0 without TLS.
  void CertificateExpiry(double unix_seconds);

  // octet_client_limited_total{limit}: "calls", "bytes".
  void ClientLimited(std::string_view limit);

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace octet::telemetry

#endif  // OCTET_SERVER_TELEMETRY_SECURITY_METRICS_H_
