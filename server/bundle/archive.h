// A bundle directory as a POSIX tar stream, and back.

#ifndef OCTET_SERVER_BUNDLE_ARCHIVE_H_
#define OCTET_SERVER_BUNDLE_ARCHIVE_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/bundle/mapped_file.h"

namespace octet::bundle {

// Consecutive bytes of the stream: a whole file where it is mapped, or some of
// what stands between files, which is gone after the call.
struct ArchivePiece {
  std::string_view bytes;
  std::shared_ptr<const MappedFile> file;  // keeps `bytes`; nullptr: between
};

// Receives the pieces; an error stops the writing.
using ArchiveSink = absl::FunctionRef<absl::Status(const ArchivePiece&)>;

// Writes every file below `directory`, sorted by path, with fixed times and
// owners: equal directories give equal bytes. Nothing of the files is copied.
absl::Status WriteArchive(const std::filesystem::path& directory,
                          ArchiveSink sink);

// Unpacks regular files only. INVALID_ARGUMENT for links, devices, unsafe or
// duplicate paths, a truncated stream; RESOURCE_EXHAUSTED over `max_bytes`.
absl::Status ReadArchive(const std::filesystem::path& archive,
                         const std::filesystem::path& directory,
                         uint64_t max_bytes);

}  // namespace octet::bundle

#endif  // OCTET_SERVER_BUNDLE_ARCHIVE_H_
