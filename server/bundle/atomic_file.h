// A file that is either the old one or the new one, at any crash.
//
// The bytes are written beside the target (".<name>.tmp"), synced, renamed
// over it, and the directory is synced, in this order.

#ifndef OCTET_SERVER_BUNDLE_ATOMIC_FILE_H_
#define OCTET_SERVER_BUNDLE_ATOMIC_FILE_H_

#include <filesystem>
#include <string_view>

#include "absl/status/status.h"

namespace octet::bundle {

// Where the bytes of `path` are written first: what a crash may leave behind.
std::filesystem::path AsideOf(const std::filesystem::path& path);

// One writer per target at a time.
absl::Status WriteFileAtomically(const std::filesystem::path& path,
                                 std::string_view bytes);

// Makes a directory's entries (names, renames, removals) durable.
absl::Status SyncDirectory(const std::filesystem::path& directory);

// Makes every file and directory below `directory`, and itself, durable.
absl::Status SyncTree(const std::filesystem::path& directory);

}  // namespace octet::bundle

#endif  // OCTET_SERVER_BUNDLE_ATOMIC_FILE_H_
