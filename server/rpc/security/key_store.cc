#include "server/rpc/security/key_store.h"

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "kernels/status_macros.h"
#include "spdlog/spdlog.h"

namespace octet::rpc {

absl::StatusOr<std::unique_ptr<KeyStore>> KeyStore::Open(
    const CertificateFiles& files, telemetry::SecurityMetrics* metrics) {
  auto store = std::unique_ptr<KeyStore>(new KeyStore(files, metrics));
  std::vector<std::string> watched = {files.chain, files.key};
  if (store->asks_clients()) watched.push_back(files.client_ca);
  // Watches before it reads, so that no change falls in between.
  store->watch_ = std::make_unique<FileWatch>(
      std::move(watched), [self = store.get()] { self->Reload(); });
  RETURN_IF_ERROR(store->Load());
  return store;
}

absl::Status KeyStore::Load() {
  ASSIGN_OR_RETURN(Certificates loaded, LoadCertificates(files_));
  spdlog::info("tls: {} until {}", loaded.subject,
               absl::FormatTime(loaded.expiry, absl::UTCTimeZone()));
  metrics_.CertificateExpiry(
      absl::ToDoubleSeconds(loaded.expiry - absl::UnixEpoch()));
  auto shared = std::make_shared<const Certificates>(std::move(loaded));
  absl::MutexLock lock(&mutex_);
  current_ = std::move(shared);
  ++version_;
  return absl::OkStatus();
}

void KeyStore::Reload() {
  const absl::Status status = Load();
  metrics_.CredentialsReloaded("certificate", status.ok());
  if (!status.ok()) {
    spdlog::error("tls: the earlier certificate stays in force: {}",
                  std::string(status.message()));
  }
}

std::shared_ptr<const Certificates> KeyStore::NewerThan(uint64_t* seen) const {
  absl::ReaderMutexLock lock(&mutex_);
  if (*seen == version_) return nullptr;
  *seen = version_;
  return current_;
}

}  // namespace octet::rpc
