// A bundle directory as a POSIX tar stream, and back.

#ifndef OCTET_SERVER_BUNDLE_ARCHIVE_H_
#define OCTET_SERVER_BUNDLE_ARCHIVE_H_

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace octet::bundle {

// Receives consecutive pieces of the stream; an error stops the writing.
using ArchiveSink = absl::FunctionRef<absl::Status(std::string_view)>;

// Writes every file below `directory`, sorted by path, with fixed times and
// owners: equal directories give equal bytes.
absl::Status WriteArchive(const std::filesystem::path& directory,
                          ArchiveSink sink);

// Unpacks regular files only. INVALID_ARGUMENT for links, devices, unsafe or
// duplicate paths, a truncated stream; RESOURCE_EXHAUSTED over `max_bytes`.
absl::Status ReadArchive(const std::filesystem::path& archive,
                         const std::filesystem::path& directory,
                         uint64_t max_bytes);

}  // namespace octet::bundle

#endif  // OCTET_SERVER_BUNDLE_ARCHIVE_H_
