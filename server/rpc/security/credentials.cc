#include "server/rpc/security/credentials.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>

#include <string>
#include <string_view>

#include "grpcpp/security/server_credentials.h"

namespace octet::rpc {
namespace {

std::string_view View(const grpc_slice& slice) {
  return {reinterpret_cast<const char*>(GRPC_SLICE_START_PTR(slice)),
          GRPC_SLICE_LENGTH(slice)};
}

// On gRPC's thread; hashes a token, and touches nothing else.
void CheckCall(void* state, grpc_auth_context* /*connection*/,
               const grpc_metadata* metadata, size_t count,
               grpc_process_auth_metadata_done_cb done, void* call) {
  std::string_view method;
  std::string_view authorization;
  size_t headers = 0;
  for (size_t i = 0; i < count; ++i) {
    const std::string_view key = View(metadata[i].key);
    if (key == ":path") method = View(metadata[i].value);
    if (key == "authorization") {
      authorization = View(metadata[i].value);
      ++headers;
    }
  }
  // Which of two would count is nothing to guess.
  if (headers > 1) authorization = {};
  const absl::Status status =
      static_cast<const Authorizer*>(state)->Check(method, authorization);
  const std::string message(status.message());
  done(call, /*consumed_md=*/nullptr, 0, /*response_md=*/nullptr, 0,
       static_cast<grpc_status_code>(status.code()), message.c_str());
}

// What one port has been given of a KeyStore. gRPC calls it under the lock of
// its connector, one handshake at a time.
struct Handed {
  const KeyStore* keys;
  uint64_t version = 0;
};

grpc_ssl_certificate_config_reload_status FetchCertificates(
    void* state, grpc_ssl_server_certificate_config** config) {
  auto* handed = static_cast<Handed*>(state);
  const auto newer = handed->keys->NewerThan(&handed->version);
  if (newer == nullptr) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
  const grpc_ssl_pem_key_cert_pair pair = {newer->key.c_str(),
                                           newer->chain.c_str()};
  // gRPC 1.51 wants authorities even where no client shows a certificate; then
  // nothing is ever checked against them.
  const std::string& authorities =
      newer->client_ca.empty() ? newer->chain : newer->client_ca;
  *config =
      grpc_ssl_server_certificate_config_create(authorities.c_str(), &pair, 1);
  return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

class PortCredentials final : public grpc::ServerCredentials {
 public:
  PortCredentials(const KeyStore* keys, const Authorizer* authorizer)
      : handed_{.keys = keys}, authorizer_(authorizer) {}

  // A processor of C++, which these have no use for.
  void SetAuthMetadataProcessor(
      const std::shared_ptr<grpc::AuthMetadataProcessor>& /*processor*/)
      override {}

 private:
  int AddPortToServer(const std::string& address,
                      grpc_server* server) override {
    grpc_server_credentials* credentials =
        handed_.keys == nullptr ? grpc_insecure_server_credentials_create()
                                : Tls();
    if (authorizer_ != nullptr) {
      grpc_server_credentials_set_auth_metadata_processor(
          credentials, {CheckCall, /*destroy=*/nullptr,
                        const_cast<Authorizer*>(authorizer_)});
    }
    const int port =
        grpc_server_add_http2_port(server, address.c_str(), credentials);
    grpc_server_credentials_release(credentials);
    return port;
  }

  grpc_server_credentials* Tls() {
    return grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            handed_.keys->asks_clients()
                ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
            FetchCertificates, &handed_));
  }

  Handed handed_;
  const Authorizer* const authorizer_;
};

}  // namespace

std::shared_ptr<grpc::ServerCredentials> MakeCredentials(
    const KeyStore* keys, const Authorizer* authorizer) {
  return std::make_shared<PortCredentials>(keys, authorizer);
}

}  // namespace octet::rpc
