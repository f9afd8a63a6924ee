#include "server/rpc/security/security.h"

#include <array>
#include <vector>

#include "grpcpp/security/auth_context.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_context.h"
#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/rpc/security/credentials.h"

namespace octet::rpc {
namespace {

constexpr size_t kMaxClientBytes = 128;

absl::Status CheckOptions(const SecurityOptions& options,
                          std::string_view address) {
  const CertificateFiles& tls = options.tls;
  if (tls.chain.empty() != tls.key.empty()) {
    return absl::InvalidArgumentError(
        "--tls-certificate and --tls-key go together");
  }
  if (!tls.client_ca.empty() && tls.chain.empty()) {
    return absl::InvalidArgumentError(
        "--tls-client-ca needs --tls-certificate and --tls-key");
  }
  if (!options.token_file.empty() && tls.chain.empty() &&
      !IsLocalAddress(address) && !options.allow_plaintext_tokens) {
    return absl::InvalidArgumentError(model::StrCat(
        "--token-file without TLS would send tokens in plaintext to ", address,
        ": give --tls-certificate and --tls-key, listen on 127.0.0.1, or, "
        "behind a proxy that encrypts, give --allow-plaintext-tokens"));
  }
  return absl::OkStatus();
}

// The subject of a verified client certificate.
std::string SubjectOf(const grpc::AuthContext& peer) {
  if (!peer.IsPeerAuthenticated()) return {};
  for (const char* property : {"x509_subject", "x509_common_name"}) {
    const auto values = peer.FindPropertyValues(property);
    if (!values.empty()) {
      return std::string(values[0].data(), values[0].size());
    }
  }
  return {};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Security>> Security::Open(
    const SecurityOptions& options, std::string_view address,
    telemetry::SecurityMetrics* metrics) {
  RETURN_IF_ERROR(CheckOptions(options, address));
  auto security = std::unique_ptr<Security>(new Security());
  if (!options.tls.chain.empty()) {
    ASSIGN_OR_RETURN(security->keys_, KeyStore::Open(options.tls, metrics));
  }
  if (!options.token_file.empty()) {
    ASSIGN_OR_RETURN(
        security->authorizer_,
        Authorizer::Open(options.token_file,
                         options.reflection == Reflection::kOpen, metrics));
  }
  security->credentials_ =
      MakeCredentials(security->keys_.get(), security->authorizer_.get());
  return security;
}

std::string Security::ClientOf(const grpc::ServerContextBase& context) const {
  std::string client;
  if (authorizer_ != nullptr) {
    const auto& metadata = context.client_metadata();
    const auto header = metadata.find("authorization");
    if (header != metadata.end()) {
      client =
          authorizer_->NameOf({header->second.data(), header->second.size()});
    }
  }
  if (client.empty() && keys_ != nullptr && keys_->asks_clients()) {
    client = SubjectOf(*context.auth_context());
  }
  if (client.empty()) client = HostOfPeer(context.peer());
  return client.substr(0, kMaxClientBytes);
}

bool IsLocalAddress(std::string_view address) {
  for (const std::string_view start :
       {"127.", "localhost:", "[::1]:", "unix:", "unix-abstract:"}) {
    if (address.starts_with(start)) return true;
  }
  return false;
}

std::string HostOfPeer(std::string_view peer) {
  const bool has_port = peer.starts_with("ipv4:") || peer.starts_with("ipv6:");
  if (!has_port) return std::string(peer);
  peer = peer.substr(5, peer.rfind(':') - 5);
  // gRPC percent-encodes the brackets of an IPv6 host.
  if (peer.starts_with("%5B") && peer.ends_with("%5D")) {
    peer = peer.substr(3, peer.size() - 6);
  }
  return std::string(peer);
}

}  // namespace octet::rpc
