#include "client/lib/credentials.h"

#include "grpcpp/security/credentials.h"
#include "gtest/gtest.h"

namespace octet::client {
namespace {

TEST(Credentials, TokensMayStayOnThisMachineInPlaintext) {
  const Credentials plaintext{.channel = nullptr, .token = "secret"};
  for (const char* server : {"127.0.0.1:8001", "127.255.0.9:8001", "127.0.0.1",
                             "localhost:8001", "localhost", "[::1]:8001",
                             "[0:0:0:0:0:0:0:1]:8001", "unix:/run/octet"}) {
    EXPECT_TRUE(CheckToken(plaintext, server).ok()) << server;
  }
}

TEST(Credentials, TokensCrossNoNetworkInPlaintext) {
  const Credentials plaintext{.channel = nullptr, .token = "secret"};
  const Credentials tls{.channel = grpc::SslCredentials({}), .token = "secret"};
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

}  // namespace
}  // namespace octet::client
