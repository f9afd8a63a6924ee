// Everything about who may talk to the server, in one object.

#ifndef OCTET_SERVER_RPC_SECURITY_SECURITY_H_
#define OCTET_SERVER_RPC_SECURITY_SECURITY_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/rpc/security/authorization.h"
#include "server/rpc/security/key_store.h"
#include "server/telemetry/security_metrics.h"

namespace grpc {
class ServerContextBase;
class ServerCredentials;
}  // namespace grpc

namespace octet::rpc {

// Whether the server describes its own API (grpc.reflection).
enum class Reflection : uint8_t {
  kOff,
  kOn,    // to those who may call something
  kOpen,  // to anyone, also where calls need a token
};

struct SecurityOptions {
  CertificateFiles tls;    // no chain and no key: plaintext
  std::string token_file;  // none: everybody may call everything
  bool allow_plaintext_tokens = false;
  Reflection reflection = Reflection::kOn;
};

class Security {
 public:
  // Reads all files, and follows them. INVALID_ARGUMENT for a combination that
  // would be less safe than it looks: half of a key pair, client certificates
  // without TLS, tokens in plaintext over a network.
  static absl::StatusOr<std::unique_ptr<Security>> Open(
      const SecurityOptions& options, std::string_view address,
      telemetry::SecurityMetrics* metrics);

  // For one port, which this object has to outlive.
  const std::shared_ptr<grpc::ServerCredentials>& credentials() const {
    return credentials_;
  }

  // Who calls: the name of its token, else the subject of its certificate,
  // else the host it calls from. Never a secret.
  std::string ClientOf(const grpc::ServerContextBase& context) const;

 private:
  Security() = default;

  std::unique_ptr<KeyStore> keys_;
  std::unique_ptr<Authorizer> authorizer_;
  std::shared_ptr<grpc::ServerCredentials> credentials_;
};

// Whether nobody but this machine can listen in: loopback, a Unix socket.
bool IsLocalAddress(std::string_view address);

// The host of a peer as gRPC writes it: "ipv4:10.0.0.7:51234" -> "10.0.0.7".
std::string HostOfPeer(std::string_view peer);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_SECURITY_SECURITY_H_
