// A file on its way from a client: after a header, chunks in order, into
// scratch space. It goes when the stream does.
//
// (A checkpoint is uploaded file by file and can be resumed: bundle/upload.h.)

#ifndef OCTET_SERVER_RPC_UPLOAD_FILE_H_
#define OCTET_SERVER_RPC_UPLOAD_FILE_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "server/bundle/io.h"

namespace octet::rpc {

class UploadFile {
 public:
  // `what` is in it, for messages: "bundle".
  UploadFile(std::string what, uint64_t max_bytes)
      : what_(std::move(what)), max_bytes_(max_bytes) {}
  ~UploadFile();
  UploadFile(const UploadFile&) = delete;
  UploadFile& operator=(const UploadFile&) = delete;

  const std::filesystem::path& path() const { return path_; }

  // INVALID_ARGUMENT: a header is not what comes next, or the end is not.
  absl::Status ExpectHeader() const;
  absl::Status ExpectEnd() const;

  // At the header. Nobody else writes to `path`.
  absl::Status Create(std::filesystem::path path);

  // The next chunk. OUT_OF_RANGE when it is another one, DATA_LOSS when it is
  // damaged, RESOURCE_EXHAUSTED when it is too much.
  absl::Status Append(int64_t offset, std::string_view data, uint32_t crc32c);

 private:
  const std::string what_;
  const uint64_t max_bytes_;
  std::filesystem::path path_;  // empty before the header
  bundle::FileDescriptor file_;
  uint64_t received_ = 0;
};

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_UPLOAD_FILE_H_
