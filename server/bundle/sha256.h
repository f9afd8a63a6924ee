// SHA-256 as lower-case hexadecimal, by OpenSSL.

#ifndef OCTET_SERVER_BUNDLE_SHA256_H_
#define OCTET_SERVER_BUNDLE_SHA256_H_

#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace octet::bundle {

absl::StatusOr<std::string> Sha256(std::string_view bytes);
absl::StatusOr<std::string> Sha256OfFile(const std::filesystem::path& path);

// 64 characters of [0-9a-f].
bool IsSha256(std::string_view text);

}  // namespace octet::bundle

#endif  // OCTET_SERVER_BUNDLE_SHA256_H_
