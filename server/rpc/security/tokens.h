// Bearer tokens (RFC 6750) by their digests. The file has a line for each:
//
//   # name   role   SHA-256 of the token, as `sha256sum` prints it
//   ci       infer
//   9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//
// It holds no secret: who reads it cannot call. That needs tokens too long to
// guess, as `openssl rand -hex 32` makes them. A plain digest is enough for
// those; passwords would need a slow hash, and are not for this file.

#ifndef OCTET_SERVER_RPC_SECURITY_TOKENS_H_
#define OCTET_SERVER_RPC_SECURITY_TOKENS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/rpc/security/policy.h"

namespace octet::rpc {

using TokenDigest = std::array<uint8_t, 32>;

TokenDigest DigestOf(std::string_view token);

class TokenTable {
 public:
  struct Entry {
    std::string name;  // for logs and limits; no secret
    Role role;
    TokenDigest digest;
  };

  // Errors name the line. Two names may share neither name nor token.
  static absl::StatusOr<TokenTable> Parse(std::string_view text);

  // nullptr when there is no such token. Takes as long for a token that is
  // nearly right as for any other.
  const Entry* Find(std::string_view token) const;

  size_t size() const { return entries_.size(); }

 private:
  std::vector<Entry> entries_;
};

// The token of an `authorization` header, "Bearer TOKEN" with any case of the
// first word; empty when it is of another form or longer than any of ours.
std::string_view BearerToken(std::string_view authorization);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_SECURITY_TOKENS_H_
