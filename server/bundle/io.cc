#include "server/bundle/io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "absl/strings/escaping.h"
#include "kernels/status_macros.h"
#include "server/model/str_cat.h"

namespace octet::bundle {

namespace fs = std::filesystem;

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) close(fd_);
}

absl::Status ErrnoStatus(std::string_view action, const fs::path& path) {
  const int error = errno;
  const std::string message =
      model::StrCat(action, " ", Quoted(path.filename().string()));
  if (error == ENOSPC || error == EDQUOT) {
    return absl::ResourceExhaustedError(
        model::StrCat(message, ": no space left on the server's disk"));
  }
  return absl::ErrnoToStatus(error, message);
}

absl::StatusOr<FileDescriptor> OpenFile(const fs::path& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus("open", path);
  return FileDescriptor(fd);
}

absl::StatusOr<FileDescriptor> OpenRegularFile(const fs::path& path,
                                               uint64_t* size_bytes) {
  ASSIGN_OR_RETURN(FileDescriptor fd, OpenFile(path, O_RDONLY | O_NONBLOCK));
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return ErrnoStatus("stat", path);
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(model::StrCat(
        Quoted(path.filename().string()), " is not a regular file"));
  }
  *size_bytes = static_cast<uint64_t>(info.st_size);
  return fd;
}

absl::Status WriteAll(int fd, absl::Span<const std::byte> data,
                      const fs::path& path) {
  while (!data.empty()) {
    const ssize_t written = write(fd, data.data(), data.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoStatus("write", path);
    data.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status WriteAll(int fd, std::string_view data, const fs::path& path) {
  return WriteAll(
      fd,
      absl::MakeConstSpan(reinterpret_cast<const std::byte*>(data.data()),
                          data.size()),
      path);
}

absl::StatusOr<std::string> ReadSmallFile(const fs::path& path,
                                          uint64_t max_bytes) {
  uint64_t size = 0;
  ASSIGN_OR_RETURN(const FileDescriptor fd, OpenRegularFile(path, &size));
  if (size > max_bytes) {
    return absl::ResourceExhaustedError(
        model::StrCat(Quoted(path.filename().string()), " has ", size,
                      " bytes; at most ", max_bytes, " are read"));
  }
  std::string text(size, '\0');
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t got = read(fd.get(), text.data() + done, text.size() - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus("read", path);
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  text.resize(done);
  return text;
}

absl::StatusOr<std::vector<std::string>> ListFiles(const fs::path& directory) {
  std::vector<std::string> files;
  std::error_code error;
  fs::recursive_directory_iterator it(directory, error);
  for (; !error && it != fs::recursive_directory_iterator();
       it.increment(error)) {
    const fs::file_status status = it->symlink_status(error);
    if (error) break;
    const std::string path =
        it->path().lexically_relative(directory).generic_string();
    if (fs::is_directory(status)) continue;
    if (!fs::is_regular_file(status)) {
      return absl::InvalidArgumentError(
          model::StrCat(Quoted(path), " is not a regular file"));
    }
    files.push_back(path);
  }
  if (error) {
    return absl::ErrnoToStatus(
        error.value(),
        model::StrCat("list ", Quoted(directory.filename().string())));
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string Quoted(std::string_view name) {
  constexpr size_t kShown = 100;
  const bool cut = name.size() > kShown;
  return model::StrCat(
      "'", absl::Utf8SafeCHexEscape(std::string(name.substr(0, kShown))),
      cut ? "...'" : "'");
}

}  // namespace octet::bundle
