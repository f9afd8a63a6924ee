// The little of POSIX file handling that the bundle code needs, with Status.
//
// Messages name files by their last component or relative path: callers of the
// service have no use for the server's directories.

#ifndef OCTET_SERVER_BUNDLE_IO_H_
#define OCTET_SERVER_BUNDLE_IO_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace octet::bundle {

// An open file, closed when it goes out of scope.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor();

  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

// Status of the last failed system call: "open 'model.safetensors': No such
// file or directory". A full disk is RESOURCE_EXHAUSTED.
absl::Status ErrnoStatus(std::string_view action,
                         const std::filesystem::path& path);

// open(2) with O_CLOEXEC.
absl::StatusOr<FileDescriptor> OpenFile(const std::filesystem::path& path,
                                        int flags);

// Opens a regular file for reading; INVALID_ARGUMENT for anything else (a
// FIFO would block, a directory has no bytes).
absl::StatusOr<FileDescriptor> OpenRegularFile(
    const std::filesystem::path& path, uint64_t* size_bytes);

// Writes all of `data` at the file's position.
absl::Status WriteAll(int fd, absl::Span<const std::byte> data,
                      const std::filesystem::path& path);
absl::Status WriteAll(int fd, std::string_view data,
                      const std::filesystem::path& path);

// The whole file; RESOURCE_EXHAUSTED when it is longer than `max_bytes`.
absl::StatusOr<std::string> ReadSmallFile(const std::filesystem::path& path,
                                          uint64_t max_bytes);

// Paths of the regular files below `directory`, relative to it, with '/',
// sorted. INVALID_ARGUMENT for links and devices, which no reader follows.
absl::StatusOr<std::vector<std::string>> ListFiles(
    const std::filesystem::path& directory);

// A name for a message: quoted, control characters escaped, at most 100 bytes
// of it.
std::string Quoted(std::string_view name);

}  // namespace octet::bundle

#endif  // OCTET_SERVER_BUNDLE_IO_H_
