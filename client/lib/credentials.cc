#include "client/lib/credentials.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <fstream>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/lib/status_macros.h"
#include "grpcpp/security/credentials.h"

namespace octet::client {
namespace {

absl::StatusOr<std::string> Read(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  if (!in.is_open() || in.bad()) {
    return absl::NotFoundError(absl::StrCat("'", file, "' cannot be read"));
  }
  if (text.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("'", file, "' is empty"));
  }
  return text;
}

absl::Status ReadInto(const std::string& file, std::string* out) {
  if (file.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(*out, Read(file));
  return absl::OkStatus();
}

// Anything else in a header would end the call before it is sent.
absl::Status CheckForm(const std::string& token, const std::string& file) {
  for (const char c : token) {
    if (!absl::ascii_isgraph(static_cast<unsigned char>(c))) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", file, "' must hold one token and nothing else"));
    }
  }
  return absl::OkStatus();
}

// Whether what is sent to `server` stays on this machine. An address is read as
// one: "127.example.org" is a name that DNS answers.
bool IsLocal(absl::string_view server) {
  if (absl::StartsWith(server, "unix:")) return true;
  absl::string_view host = server.substr(0, server.rfind(':'));
  if (host == "localhost") return true;
  // Without brackets, gRPC takes "::1:8001" for an address and no port.
  if (absl::ConsumePrefix(&host, "[") && absl::ConsumeSuffix(&host, "]")) {
    in6_addr v6{};
    return inet_pton(AF_INET6, std::string(host).c_str(), &v6) == 1 &&
           IN6_IS_ADDR_LOOPBACK(&v6);
  }
  in_addr v4{};
  return inet_pton(AF_INET, std::string(host).c_str(), &v4) == 1 &&
         ntohl(v4.s_addr) >> 24 == 127;
}

}  // namespace

absl::StatusOr<Credentials> LoadCredentials(const CredentialFiles& files) {
  if (files.certificate.empty() != files.key.empty()) {
    return absl::InvalidArgumentError(
        "a client's certificate and its key go together");
  }
  Credentials result;
  if (files.tls || !files.ca.empty() || !files.certificate.empty()) {
    grpc::SslCredentialsOptions options;
    RETURN_IF_ERROR(ReadInto(files.ca, &options.pem_root_certs));
    RETURN_IF_ERROR(ReadInto(files.certificate, &options.pem_cert_chain));
    RETURN_IF_ERROR(ReadInto(files.key, &options.pem_private_key));
    result.channel = grpc::SslCredentials(options);
  }
  if (!files.server_name.empty() && result.channel == nullptr) {
    return absl::InvalidArgumentError(
        "a name of the server is checked with TLS only: turn TLS on, or name "
        "its authority");
  }
  result.server_name = files.server_name;
  RETURN_IF_ERROR(ReadInto(files.token, &result.token));
  absl::StripAsciiWhitespace(&result.token);
  RETURN_IF_ERROR(CheckForm(result.token, files.token));
  return result;
}

absl::Status CheckToken(const Credentials& credentials,
                        absl::string_view server) {
  if (credentials.token.empty() || credentials.channel != nullptr) {
    return absl::OkStatus();
  }
  if (IsLocal(server)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the token would be sent to ", server,
                   " in plaintext: use TLS, or allow plaintext tokens"));
}

}  // namespace octet::client
