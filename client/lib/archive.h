// A bundle directory as a tar file, and back.

#ifndef OCTET_CLIENT_LIB_ARCHIVE_H_
#define OCTET_CLIENT_LIB_ARCHIVE_H_

#include <filesystem>

#include "absl/status/status.h"
#include "client/lib/local_files.h"

namespace octet::client {

// Writes every regular file below `directory` into a POSIX tar. An error names
// the file that cannot be read; DATA_LOSS when one shrinks meanwhile.
absl::Status Pack(const std::filesystem::path& directory,
                  const std::filesystem::path& archive, BlockFn on_block);

// Unpacks regular files into `directory`, which is created. INVALID_ARGUMENT
// for links, devices, and paths that are absolute or contain "..".
absl::Status Unpack(const std::filesystem::path& archive,
                    const std::filesystem::path& directory, BlockFn on_block);

}  // namespace octet::client

#endif  // OCTET_CLIENT_LIB_ARCHIVE_H_
