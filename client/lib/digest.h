// What proves that bytes arrived as they left: CRC32C (Castagnoli, RFC 3720)
// for each chunk, SHA-256 in lower-case hexadecimal for each file.

#ifndef OCTET_CLIENT_LIB_DIGEST_H_
#define OCTET_CLIENT_LIB_DIGEST_H_

#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/lib/local_files.h"

namespace octet::client {

// Crc32c("123456789") == 0xE3069283.
uint32_t Crc32c(absl::string_view data);

absl::StatusOr<std::string> Sha256OfFile(const std::filesystem::path& path,
                                         BlockFn on_block);

}  // namespace octet::client

#endif  // OCTET_CLIENT_LIB_DIGEST_H_
