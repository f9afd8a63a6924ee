// Files arriving in chunks over a connection that may break.
//
// The declared files are kept in `<staged>/.upload.json`; how far each one got
// is its length on disk, so a resumed upload starts there. Chunks of a file
// come in order; files may come in any order.
//
// The state goes after the directory is published, not before: until then the
// upload can be resumed, whatever happens.

#ifndef OCTET_SERVER_BUNDLE_UPLOAD_H_
#define OCTET_SERVER_BUNDLE_UPLOAD_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace octet::bundle {

// Where a staged directory keeps the declaration. A crash can leave it in a
// published one, of whose files it is none.
inline constexpr std::string_view kUploadState = ".upload.json";

struct UploadFile {
  std::string path;  // relative, validated
  uint64_t size_bytes = 0;
  std::string sha256;  // lower-case hexadecimal, or empty: not checked
  uint64_t received_bytes = 0;
};

struct UploadLimits {
  uint64_t max_total_bytes = uint64_t{64} << 30;
  size_t max_files = 256;
};

class Upload {
 public:
  // Starts an upload in `staged`, or resumes the one that is there. Errors:
  // INVALID_ARGUMENT (paths, duplicates, no file), RESOURCE_EXHAUSTED (limits),
  // FAILED_PRECONDITION when a resumed upload declares other files.
  static absl::StatusOr<Upload> Begin(const std::filesystem::path& staged,
                                      std::vector<UploadFile> files,
                                      const UploadLimits& limits);

  // What is there of an upload, without touching it.
  static absl::StatusOr<std::vector<UploadFile>> Inspect(
      const std::filesystem::path& staged);

  // Errors: NOT_FOUND (undeclared file), OUT_OF_RANGE (offset is not the next
  // one; says which is, or beyond the declared size), DATA_LOSS (CRC32C).
  absl::Status Append(std::string_view path, uint64_t offset,
                      std::string_view data, uint32_t crc32c);

  bool complete() const;
  const std::vector<UploadFile>& files() const { return files_; }

  // All bytes came and every given SHA-256 holds. FAILED_PRECONDITION names
  // the first incomplete file; DATA_LOSS a digest, whose file is emptied.
  absl::Status Verify();

  // Removes `.upload.json`, if it is there, from a published directory.
  static absl::Status Forget(const std::filesystem::path& published);

 private:
  Upload(std::filesystem::path staged, std::vector<UploadFile> files);
  std::filesystem::path staged_;
  std::vector<UploadFile> files_;
};

// CRC32C (Castagnoli), as in RFC 3720.
uint32_t Crc32c(std::string_view data);

}  // namespace octet::bundle

#endif  // OCTET_SERVER_BUNDLE_UPLOAD_H_
