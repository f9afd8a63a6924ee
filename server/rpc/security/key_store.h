// The certificates in force. gRPC asks for them at every handshake, so that new
// connections see new ones and old connections go on.
//
// gRPC 1.51 has a FileWatcherCertificateProvider of its own (experimental); it
// hands on whatever it reads. Here a file is checked before it takes the place
// of another, and gRPC's stable interface for it is enough.

#ifndef OCTET_SERVER_RPC_SECURITY_KEY_STORE_H_
#define OCTET_SERVER_RPC_SECURITY_KEY_STORE_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/rpc/security/certificates.h"
#include "server/rpc/security/text_file.h"
#include "server/telemetry/security_metrics.h"

namespace octet::rpc {

class KeyStore {
 public:
  // Follows the files; broken ones are logged and change nothing.
  static absl::StatusOr<std::unique_ptr<KeyStore>> Open(
      const CertificateFiles& files, telemetry::SecurityMetrics* metrics);

  bool asks_clients() const { return !files_.client_ca.empty(); }

  // The certificates, when they are newer than version `*seen`; then says
  // which they are. nullptr otherwise.
  std::shared_ptr<const Certificates> NewerThan(uint64_t* seen) const;

 private:
  KeyStore(CertificateFiles files, telemetry::SecurityMetrics* metrics)
      : files_(std::move(files)), metrics_(*metrics) {}

  absl::Status Load();
  void Reload();

  const CertificateFiles files_;
  telemetry::SecurityMetrics& metrics_;
  mutable absl::Mutex mutex_;
  std::shared_ptr<const Certificates> current_ ABSL_GUARDED_BY(mutex_);
  uint64_t version_ ABSL_GUARDED_BY(mutex_) = 0;
  std::unique_ptr<FileWatch> watch_;  // last: it calls Reload
};

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_SECURITY_KEY_STORE_H_
