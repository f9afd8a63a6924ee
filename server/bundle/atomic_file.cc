#include "server/bundle/atomic_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <string>
#include <system_error>

#include "kernels/status_macros.h"
#include "server/bundle/io.h"
#include "server/model/str_cat.h"

namespace octet::bundle {

namespace fs = std::filesystem;

namespace {

absl::Status Sync(const fs::path& path, int flags) {
  ASSIGN_OR_RETURN(const FileDescriptor fd, OpenFile(path, flags));
  if (fsync(fd.get()) != 0) return ErrnoStatus("fsync", path);
  return absl::OkStatus();
}

}  // namespace

fs::path AsideOf(const fs::path& path) {
  return path.parent_path() /
         model::StrCat(".", path.filename().string(), ".tmp");
}

absl::Status WriteFileAtomically(const fs::path& path, std::string_view bytes) {
  const fs::path aside = AsideOf(path);
  {
    ASSIGN_OR_RETURN(const FileDescriptor fd,
                     OpenFile(aside, O_WRONLY | O_CREAT | O_TRUNC));
    RETURN_IF_ERROR(WriteAll(fd.get(), bytes, path));
    if (fsync(fd.get()) != 0) return ErrnoStatus("fsync", path);
  }
  if (rename(aside.c_str(), path.c_str()) != 0) {
    return ErrnoStatus("rename", path);
  }
  return SyncDirectory(path.parent_path());
}

absl::Status SyncDirectory(const fs::path& directory) {
  return Sync(directory, O_RDONLY | O_DIRECTORY);
}

absl::Status SyncTree(const fs::path& directory) {
  std::error_code error;
  fs::recursive_directory_iterator it(directory, error);
  for (; !error && it != fs::recursive_directory_iterator();
       it.increment(error)) {
    if (it->is_symlink()) continue;
    RETURN_IF_ERROR(Sync(it->path(), O_RDONLY | O_NONBLOCK));
  }
  if (error) {
    return absl::ErrnoToStatus(
        error.value(),
        model::StrCat("sync ", Quoted(directory.filename().string())));
  }
  return SyncDirectory(directory);
}

}  // namespace octet::bundle
