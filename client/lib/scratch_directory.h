// A new directory for files that are not whole yet. It goes, with whatever is
// in it, when the object does; only a process that is killed leaves it, under a
// name that nothing takes again.

#ifndef OCTET_CLIENT_LIB_SCRATCH_DIRECTORY_H_
#define OCTET_CLIENT_LIB_SCRATCH_DIRECTORY_H_

#include <filesystem>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace octet::client {

class ScratchDirectory {
 public:
  // On the file system of `target`, for what is moved there when it is whole.
  // ALREADY_EXISTS when there is something at `target`.
  static absl::StatusOr<ScratchDirectory> Beside(
      const std::filesystem::path& target);
  // Where the system has its temporary files: TMPDIR, else /tmp.
  static absl::StatusOr<ScratchDirectory> Temporary();

  ScratchDirectory(ScratchDirectory&& other) noexcept;
  ScratchDirectory& operator=(ScratchDirectory&&) = delete;
  ~ScratchDirectory();

  const std::filesystem::path& path() const { return path_; }

 private:
  static absl::StatusOr<ScratchDirectory> Make(
      const std::filesystem::path& prefix);
  explicit ScratchDirectory(std::filesystem::path path);

  std::filesystem::path path_;  // empty: moved from
};

// Renames `whole`, in a ScratchDirectory beside `target`, to `target`.
absl::Status MoveTo(const std::filesystem::path& whole,
                    const std::filesystem::path& target);

}  // namespace octet::client

#endif  // OCTET_CLIENT_LIB_SCRATCH_DIRECTORY_H_
