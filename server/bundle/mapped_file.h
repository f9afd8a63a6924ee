// A file's bytes, mapped read-only for as long as this object lives.
//
// A file that became shorter would be a SIGBUS for its readers. None does:
// what is published never changes, a calibration is replaced by a rename
// (atomic_file.h), and deleting unlinks; a mapping keeps what it shows. Files
// that others may write to are read, not mapped (oip/shared_memory.h).

#ifndef OCTET_SERVER_BUNDLE_MAPPED_FILE_H_
#define OCTET_SERVER_BUNDLE_MAPPED_FILE_H_

#include <cstddef>
#include <filesystem>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace octet::bundle {

class MappedFile {
 public:
  static absl::StatusOr<MappedFile> Open(const std::filesystem::path& path);

  MappedFile(MappedFile&& other) noexcept
      : bytes_(std::exchange(other.bytes_, {})) {}
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile();

  absl::Span<const std::byte> bytes() const { return bytes_; }

  // Takes the pages of `part` out of memory, if it is of this file; they come
  // back when they are read. Whole pages: a neighbour's may go with them.
  void Release(absl::Span<const std::byte> part) const;

 private:
  explicit MappedFile(absl::Span<const std::byte> bytes) : bytes_(bytes) {}
  absl::Span<const std::byte> bytes_;
};

}  // namespace octet::bundle

#endif  // OCTET_SERVER_BUNDLE_MAPPED_FILE_H_
