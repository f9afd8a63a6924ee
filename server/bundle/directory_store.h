// Named directories, each published whole or not at all.
//
// A directory is built under `<root>/.staging/<id>`, synced, and renamed to
// `<root>/<id>`: a crash at any byte leaves either no directory or a complete
// one. Staged directories survive a restart, so that uploads can resume.

#ifndef OCTET_SERVER_BUNDLE_DIRECTORY_STORE_H_
#define OCTET_SERVER_BUNDLE_DIRECTORY_STORE_H_

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace octet::bundle {

// 1-63 characters of [a-z0-9-], starting and ending with a letter or digit.
// INVALID_ARGUMENT naming `field` otherwise.
absl::Status ValidateId(std::string_view field, std::string_view id);

// A relative path of at most 255 bytes without empty, "." or ".." components,
// with characters of [A-Za-z0-9._-] between slashes, at most 4 components.
absl::Status ValidateRelativePath(std::string_view field,
                                  std::string_view path);

class DirectoryStore {
 public:
  // `kind` is how messages call an entry: "checkpoint", "bundle".
  static absl::StatusOr<DirectoryStore> Open(std::filesystem::path root,
                                             std::string kind);

  // Makes (or finds again) the staging directory of `id`. ALREADY_EXISTS when
  // `id` is published.
  absl::StatusOr<std::filesystem::path> Stage(std::string_view id) const;
  // The staging directory, which is not made: NOT_FOUND without one.
  absl::StatusOr<std::filesystem::path> FindStaged(std::string_view id) const;
  bool IsStaged(std::string_view id) const { return FindStaged(id).ok(); }
  std::vector<std::string> ListStaged() const;

  // Syncs the staged files and directories and renames. ALREADY_EXISTS,
  // NOT_FOUND.
  absl::Status Publish(std::string_view id) const;
  absl::Status Discard(std::string_view id) const;  // staged only; idempotent

  // The published directory; NOT_FOUND: "checkpoint 'x' does not exist".
  absl::StatusOr<std::filesystem::path> Find(std::string_view id) const;
  std::vector<std::string> List() const;  // sorted

  // What an error means that came of reading the published `id`. Its files were
  // right when they were published, so that missing or wrong ones are DATA_LOSS
  // and not the caller's mistake; NOT_FOUND when it was removed meanwhile.
  absl::Status WhyUnreadable(std::string_view id,
                             const absl::Status& status) const;

  // Renames aside first, so that a crash never leaves half a directory.
  absl::Status Remove(std::string_view id) const;
  // Its halves, for who holds a lock: Hide renames, at once, and returns what
  // Reclaim then deletes, in as long as that takes.
  absl::StatusOr<std::filesystem::path> Hide(std::string_view id) const;
  absl::Status Reclaim(const std::filesystem::path& hidden) const;

 private:
  DirectoryStore(std::filesystem::path root, std::string kind);
  std::filesystem::path root_;
  std::string kind_;
};

}  // namespace octet::bundle

#endif  // OCTET_SERVER_BUNDLE_DIRECTORY_STORE_H_
