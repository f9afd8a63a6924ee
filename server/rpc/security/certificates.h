// Certificates of a TLS server, read and checked before anybody sees them.

#ifndef OCTET_SERVER_RPC_SECURITY_CERTIFICATES_H_
#define OCTET_SERVER_RPC_SECURITY_CERTIFICATES_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace octet::rpc {

struct CertificateFiles {
  std::string chain;      // PEM, the server's own first
  std::string key;        // PEM, without a password
  std::string client_ca;  // PEM; empty: clients show none
};

struct Certificates {
  std::string chain;
  std::string key;
  std::string client_ca;
  absl::Time expiry;    // of the server's own
  std::string subject;  // likewise, for the log
};

// Errors name the file: it cannot be read, is no PEM, has expired, or is not
// the certificate of the key.
absl::StatusOr<Certificates> LoadCertificates(const CertificateFiles& files);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_SECURITY_CERTIFICATES_H_
