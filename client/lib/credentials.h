// Who the server is, and who we are: TLS and a bearer token, from files.
//
//   auto credentials = LoadCredentials({.ca = "ca.pem", .token = "token"});
//   ConnectOptions options{.server = "octet:8001", .credentials =
//   *credentials};

#ifndef OCTET_CLIENT_LIB_CREDENTIALS_H_
#define OCTET_CLIENT_LIB_CREDENTIALS_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace grpc {
class ChannelCredentials;
}

namespace octet::client {

struct CredentialFiles {
  bool tls = false;         // with the system's authorities, unless `ca`
  std::string ca;           // PEM: who signs servers; means TLS
  std::string certificate;  // PEM: of this client, for mutual TLS
  std::string key;          // its key
  std::string server_name;  // on the server's certificate, where the address's
                            // name is not; only with TLS
  std::string token;        // one line: the token itself
};

struct Credentials {
  std::shared_ptr<grpc::ChannelCredentials> channel;  // nullptr: plaintext
  std::string server_name;                            // empty: the address's
  std::string token;                                  // empty: none is sent
};

// Errors name the file.
absl::StatusOr<Credentials> LoadCredentials(const CredentialFiles& files);

// FAILED_PRECONDITION when a token would cross a network in plaintext: `server`
// is neither localhost, nor an address in 127/8 or ::1, nor unix:.
absl::Status CheckToken(const Credentials& credentials,
                        absl::string_view server);

}  // namespace octet::client

#endif  // OCTET_CLIENT_LIB_CREDENTIALS_H_
