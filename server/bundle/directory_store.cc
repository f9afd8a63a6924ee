#include "server/bundle/directory_store.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <utility>

#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "kernels/status_macros.h"
#include "server/bundle/atomic_file.h"
#include "server/bundle/io.h"
#include "server/model/str_cat.h"

namespace octet::bundle {

namespace fs = std::filesystem;

namespace {

constexpr size_t kMaxId = 63;
constexpr size_t kMaxPath = 255;
constexpr size_t kMaxComponents = 4;

bool IsLowerOrDigit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool IsPathCharacter(char c) {
  return IsLowerOrDigit(c) || (c >= 'A' && c <= 'Z') || c == '.' || c == '_' ||
         c == '-';
}

fs::path StagingOf(const fs::path& root) { return root / ".staging"; }
fs::path TrashOf(const fs::path& root) { return root / ".trash"; }

bool IsDirectory(const fs::path& path) {
  struct stat info;
  return lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

absl::Status FromCode(std::string_view action, const fs::path& path,
                      const std::error_code& error) {
  if (!error) return absl::OkStatus();
  errno = error.value();
  return ErrnoStatus(action, path);
}

// Rename that never replaces: EEXIST when `to` is there.
int RenameNew(const fs::path& from, const fs::path& to) {
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(),
                RENAME_NOREPLACE) == 0) {
    return 0;
  }
  if (errno != EINVAL && errno != ENOSYS) return errno;
  // A file system without RENAME_NOREPLACE. rename(2) itself replaces nothing
  // but an empty directory, and published directories are never empty.
  if (IsDirectory(to)) return EEXIST;
  return rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
}

// Names of the directories in `parent` that are valid ids.
std::vector<std::string> ListIds(const fs::path& parent) {
  std::vector<std::string> ids;
  std::error_code error;
  fs::directory_iterator it(parent, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    std::string id = it->path().filename().string();
    if (ValidateId("id", id).ok() && IsDirectory(it->path())) {
      ids.push_back(std::move(id));
    }
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

// Moves a directory out of sight in one step, to where it returns. What a crash
// leaves in the trash, the next Open deletes.
absl::StatusOr<fs::path> MoveToTrash(const fs::path& root,
                                     const fs::path& directory,
                                     std::string_view id) {
  static std::atomic<uint64_t> sequence{0};
  fs::path aside =
      TrashOf(root) / model::StrCat(id, ".", absl::GetCurrentTimeNanos(), ".",
                                    sequence.fetch_add(1));
  if (rename(directory.c_str(), aside.c_str()) != 0) {
    return ErrnoStatus("remove", directory);
  }
  return aside;
}

// `parent` is where it was: a crash must not bring half of it back there.
absl::Status DeleteTrash(const fs::path& parent, const fs::path& aside) {
  RETURN_IF_ERROR(SyncDirectory(parent));
  std::error_code error;
  fs::remove_all(aside, error);
  return FromCode("remove", aside, error);
}

}  // namespace

absl::Status ValidateId(std::string_view field, std::string_view id) {
  const bool good = !id.empty() && id.size() <= kMaxId &&
                    IsLowerOrDigit(id.front()) && IsLowerOrDigit(id.back()) &&
                    std::all_of(id.begin(), id.end(), [](char c) {
                      return IsLowerOrDigit(c) || c == '-';
                    });
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(model::StrCat(
      field, ": ", Quoted(id), " must be 1-", kMaxId,
      " characters of [a-z0-9-], beginning and ending with a letter or digit"));
}

absl::Status ValidateRelativePath(std::string_view field,
                                  std::string_view path) {
  const auto bad = [&](std::string_view why) {
    return absl::InvalidArgumentError(
        model::StrCat(field, ": the path ", Quoted(path), " ", why));
  };
  if (path.empty()) return bad("is empty");
  if (path.size() > kMaxPath) return bad("has more than 255 bytes");
  const std::vector<std::string> components =
      absl::StrSplit(std::string(path), '/');
  if (components.size() > kMaxComponents) {
    return bad("has more than 4 components");
  }
  for (const std::string& component : components) {
    if (component.empty()) return bad("has an empty component");
    if (component == "." || component == "..") {
      return bad("has a '.' or '..' component");
    }
    if (!std::all_of(component.begin(), component.end(), IsPathCharacter)) {
      return bad("has a character that is not of [A-Za-z0-9._-]");
    }
  }
  return absl::OkStatus();
}

DirectoryStore::DirectoryStore(fs::path root, std::string kind)
    : root_(std::move(root)), kind_(std::move(kind)) {}

absl::StatusOr<DirectoryStore> DirectoryStore::Open(fs::path root,
                                                    std::string kind) {
  std::error_code error;
  fs::create_directories(StagingOf(root), error);
  RETURN_IF_ERROR(FromCode("create", root, error));
  fs::create_directories(TrashOf(root), error);
  RETURN_IF_ERROR(FromCode("create", root, error));
  for (fs::directory_iterator it(TrashOf(root), error);
       !error && it != fs::directory_iterator(); it.increment(error)) {
    fs::remove_all(it->path(), error);
    if (error) break;
  }
  RETURN_IF_ERROR(FromCode("empty the trash of", root, error));
  RETURN_IF_ERROR(SyncDirectory(root));
  return DirectoryStore(std::move(root), std::move(kind));
}

absl::StatusOr<fs::path> DirectoryStore::Stage(std::string_view id) const {
  RETURN_IF_ERROR(ValidateId(model::StrCat(kind_, "_id"), id));
  if (IsDirectory(root_ / id)) {
    return absl::AlreadyExistsError(
        model::StrCat(kind_, " '", id, "' already exists"));
  }
  const fs::path staged = StagingOf(root_) / id;
  std::error_code error;
  fs::create_directory(staged, error);
  RETURN_IF_ERROR(FromCode("create", staged, error));
  RETURN_IF_ERROR(SyncDirectory(StagingOf(root_)));
  return staged;
}

absl::StatusOr<fs::path> DirectoryStore::FindStaged(std::string_view id) const {
  RETURN_IF_ERROR(ValidateId(model::StrCat(kind_, "_id"), id));
  fs::path staged = StagingOf(root_) / id;
  if (IsDirectory(staged)) return staged;
  return absl::NotFoundError(
      model::StrCat(kind_, " '", id, "' is not being written"));
}

std::vector<std::string> DirectoryStore::ListStaged() const {
  return ListIds(StagingOf(root_));
}

absl::Status DirectoryStore::Publish(std::string_view id) const {
  ASSIGN_OR_RETURN(const fs::path staged, FindStaged(id));
  RETURN_IF_ERROR(SyncTree(staged));
  if (const int error = RenameNew(staged, root_ / id); error == EEXIST) {
    return absl::AlreadyExistsError(
        model::StrCat(kind_, " '", id, "' already exists"));
  } else if (error != 0) {
    errno = error;
    return ErrnoStatus("publish", staged);
  }
  RETURN_IF_ERROR(SyncDirectory(root_));
  return SyncDirectory(StagingOf(root_));
}

absl::Status DirectoryStore::Discard(std::string_view id) const {
  RETURN_IF_ERROR(ValidateId(model::StrCat(kind_, "_id"), id));
  const fs::path staged = StagingOf(root_) / id;
  if (!IsDirectory(staged)) return absl::OkStatus();
  ASSIGN_OR_RETURN(const fs::path aside, MoveToTrash(root_, staged, id));
  return DeleteTrash(StagingOf(root_), aside);
}

absl::StatusOr<fs::path> DirectoryStore::Find(std::string_view id) const {
  RETURN_IF_ERROR(ValidateId(model::StrCat(kind_, "_id"), id));
  if (IsDirectory(root_ / id)) return root_ / id;
  return absl::NotFoundError(
      model::StrCat(kind_, " '", id, "' does not exist"));
}

std::vector<std::string> DirectoryStore::List() const { return ListIds(root_); }

absl::Status DirectoryStore::WhyUnreadable(std::string_view id,
                                           const absl::Status& status) const {
  RETURN_IF_ERROR(Find(id).status());
  if (!absl::IsDataLoss(status) && !absl::IsInvalidArgument(status) &&
      !absl::IsNotFound(status) && !absl::IsOutOfRange(status)) {
    return status;
  }
  return absl::DataLossError(model::StrCat(
      kind_, " '", id, "' is damaged on the server's disk; delete it and ",
      "make it again: ", status.message()));
}

absl::Status DirectoryStore::Remove(std::string_view id) const {
  ASSIGN_OR_RETURN(const fs::path hidden, Hide(id));
  return Reclaim(hidden);
}

absl::StatusOr<fs::path> DirectoryStore::Hide(std::string_view id) const {
  ASSIGN_OR_RETURN(const fs::path directory, Find(id));
  return MoveToTrash(root_, directory, id);
}

absl::Status DirectoryStore::Reclaim(const fs::path& hidden) const {
  return DeleteTrash(root_, hidden);
}

}  // namespace octet::bundle
