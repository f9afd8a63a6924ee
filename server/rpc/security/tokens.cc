#include "server/rpc/security/tokens.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <optional>
#include <set>
#include <sstream>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "kernels/status_macros.h"
#include "server/bundle/sha256.h"
#include "server/model/str_cat.h"

namespace octet::rpc {
namespace {

using model::StrCat;

constexpr size_t kMaxNameBytes = 64;
constexpr size_t kMaxTokenBytes = 4096;
constexpr char kScheme[] = "Bearer ";

absl::Status LineError(size_t line, std::string_view what) {
  return absl::InvalidArgumentError(StrCat("line ", line, ": ", what));
}

bool IsName(std::string_view text) {
  return text.size() <= kMaxNameBytes &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
         });
}

absl::StatusOr<TokenTable::Entry> ParseLine(const std::string& text,
                                            size_t line) {
  std::istringstream words(text);
  std::string name;
  std::string role;
  std::string digest;
  std::string rest;
  if (!(words >> name >> role >> digest) || words >> rest) {
    return LineError(line, "must be NAME ROLE SHA256");
  }
  if (!IsName(name)) {
    return LineError(line, "a name has up to 64 letters, digits, '-_.'");
  }
  const std::optional<Role> parsed = ParseRole(role);
  if (!parsed) return LineError(line, "the role must be infer or admin");
  if (!bundle::IsSha256(digest)) {
    return LineError(line,
                     "the digest must be 64 lower-case hexadecimal digits, as "
                     "sha256sum prints them; never write the token itself");
  }
  TokenTable::Entry entry{name, *parsed, {}};
  const std::string bytes = absl::HexStringToBytes(digest);
  std::copy(bytes.begin(), bytes.end(), entry.digest.begin());
  return entry;
}

}  // namespace

TokenDigest DigestOf(std::string_view token) {
  TokenDigest digest;
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(),
         digest.data());
  return digest;
}

absl::StatusOr<TokenTable> TokenTable::Parse(std::string_view text) {
  TokenTable table;
  std::set<std::string> names;
  std::set<TokenDigest> digests;
  std::istringstream lines{std::string(text)};
  std::string line;
  for (size_t number = 1; std::getline(lines, line); ++number) {
    const size_t start = line.find_first_not_of(" \t\r");
    if (start == std::string::npos || line[start] == '#') continue;
    ASSIGN_OR_RETURN(Entry entry, ParseLine(line, number));
    if (!names.insert(entry.name).second) {
      return LineError(number, "the name stands in an earlier line");
    }
    if (!digests.insert(entry.digest).second) {
      return LineError(number, "the token stands in an earlier line");
    }
    table.entries_.push_back(std::move(entry));
  }
  if (table.entries_.empty()) {
    return absl::InvalidArgumentError("holds no token: nobody could call");
  }
  return table;
}

const TokenTable::Entry* TokenTable::Find(std::string_view token) const {
  const TokenDigest digest = DigestOf(token);
  const Entry* found = nullptr;
  for (const Entry& entry : entries_) {
    if (CRYPTO_memcmp(entry.digest.data(), digest.data(), digest.size()) == 0) {
      found = &entry;
    }
  }
  return found;
}

std::string_view BearerToken(std::string_view authorization) {
  const size_t prefix = sizeof(kScheme) - 1;
  if (authorization.size() > prefix + kMaxTokenBytes ||
      !absl::StartsWithIgnoreCase({authorization.data(), authorization.size()},
                                  kScheme)) {
    return {};
  }
  return authorization.substr(prefix);
}

}  // namespace octet::rpc
