#include "client/lib/scratch_directory.h"

#include <stdlib.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"

namespace octet::client {
namespace {

namespace fs = std::filesystem;

// Without a slash at the end, which a file of that name would not have.
fs::path Trimmed(const fs::path& path) {
  fs::path clean = path.lexically_normal();
  return clean.has_filename() ? clean : clean.parent_path();
}

}  // namespace

ScratchDirectory::ScratchDirectory(fs::path path) : path_(std::move(path)) {}

ScratchDirectory::ScratchDirectory(ScratchDirectory&& other) noexcept
    : path_(std::exchange(other.path_, {})) {}

ScratchDirectory::~ScratchDirectory() {
  std::error_code error;
  if (!path_.empty()) fs::remove_all(path_, error);
}

absl::StatusOr<ScratchDirectory> ScratchDirectory::Make(
    const fs::path& prefix) {
  std::string name = absl::StrCat(prefix.string(), ".XXXXXX");
  if (mkdtemp(name.data()) != nullptr) return ScratchDirectory(name);
  return absl::ErrnoToStatus(errno,
                             absl::StrCat("cannot make a directory ", name));
}

absl::StatusOr<ScratchDirectory> ScratchDirectory::Beside(
    const fs::path& target) {
  std::error_code error;
  if (fs::exists(target, error)) {
    return absl::AlreadyExistsError(
        absl::StrCat(target.string(), " exists already"));
  }
  const fs::path clean = Trimmed(target);
  return Make(clean.parent_path() /
              absl::StrCat(".", clean.filename().string()));
}

absl::StatusOr<ScratchDirectory> ScratchDirectory::Temporary() {
  std::error_code error;
  const fs::path directory = fs::temp_directory_path(error);
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("no place for temporary files: TMPDIR is no directory (",
                     error.message(), ")"));
  }
  return Make(directory / "octet");
}

absl::Status MoveTo(const fs::path& whole, const fs::path& target) {
  std::error_code error;
  fs::rename(whole, Trimmed(target), error);
  if (!error) return absl::OkStatus();
  return absl::UnknownError(
      absl::StrCat("cannot write ", target.string(), ": ", error.message()));
}

}  // namespace octet::client
