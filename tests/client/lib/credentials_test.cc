#include "client/lib/credentials.h"

#include <memory>
#include <utility>

#include "grpcpp/security/credentials.h"
#include "gtest/gtest.h"

namespace octet::client {
namespace {

Credentials WithToken(std::shared_ptr<grpc::ChannelCredentials> channel) {
  Credentials credentials;
  credentials.channel = std::move(channel);
  credentials.token = "secret";
  return credentials;
}

TEST(Credentials, TokensMayStayOnThisMachineInPlaintext) {
  const Credentials plaintext = WithToken(nullptr);
  for (const char* server : {"127.0.0.1:8001", "127.255.0.9:8001", "127.0.0.1",
                             "localhost:8001", "localhost", "[::1]:8001",
                             "[0:0:0:0:0:0:0:1]:8001", "unix:/run/octet"}) {
    EXPECT_TRUE(CheckToken(plaintext, server).ok()) << server;
  }
}

TEST(Credentials, TokensCrossNoNetworkInPlaintext) {
  const Credentials plaintext = WithToken(nullptr);
  const Credentials tls = WithToken(grpc::SslCredentials({}));
  for (const char* server :
       {"10.0.0.1:8001", "127.example.org:8001", "127.0.0.1.example.org:8001",
        "127.0.0.1.nip.io", "localhost.example.org:8001", "128.0.0.1:8001",
        "[::2]:8001", "::1:8001", "[::1].example.org:8001", "example.org:8001",
        "dns:///127.example.org:8001", ":8001", ""}) {
    const absl::Status refused = CheckToken(plaintext, server);
    EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << server;
    EXPECT_TRUE(CheckToken(tls, server).ok()) << server;
    EXPECT_TRUE(CheckToken({}, server).ok()) << server;
  }
}

TEST(Credentials, ANameOfTheServerMeansNothingWithoutTls) {
  CredentialFiles files;
  files.server_name = "octet";
  EXPECT_TRUE(absl::IsInvalidArgument(LoadCredentials(files).status()));
  files.tls = true;
  const auto named = LoadCredentials(files);
  ASSERT_TRUE(named.ok()) << named.status();
  EXPECT_EQ(named->server_name, "octet");
}

}  // namespace
}  // namespace octet::client
