#include "server/rpc/upload_file.h"

#include <fcntl.h>

#include <system_error>

#include "kernels/status_macros.h"
#include "server/bundle/upload.h"
#include "server/model/str_cat.h"
#include "server/rpc/calls/status.h"
#include "server/rpc/messages.h"

namespace octet::rpc {

using model::StrCat;

UploadFile::~UploadFile() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove(path_, ignored);
}

absl::Status UploadFile::ExpectHeader() const {
  if (path_.empty()) return absl::OkStatus();
  return FieldViolation("header", "comes once, at the start");
}

absl::Status UploadFile::ExpectEnd() const {
  if (!path_.empty()) return absl::OkStatus();
  return FieldViolation("header", "the stream ended before it");
}

absl::Status UploadFile::Create(std::filesystem::path path) {
  path_ = std::move(path);
  ASSIGN_OR_RETURN(file_, bundle::OpenFile(path_, O_WRONLY | O_CREAT | O_TRUNC |
                                                      O_NOFOLLOW));
  return absl::OkStatus();
}

absl::Status UploadFile::Append(int64_t offset, std::string_view data,
                                uint32_t crc32c) {
  if (path_.empty()) {
    return FieldViolation("header", "must come before chunks");
  }
  RETURN_IF_ERROR(CheckChunk(offset, data.size()));
  if (static_cast<uint64_t>(offset) != received_) {
    return absl::OutOfRangeError(StrCat("chunk.offset: is ", offset, "; the ",
                                        what_, " continues at ", received_));
  }
  if (bundle::Crc32c(data) != crc32c) {
    return absl::DataLossError(
        StrCat("the chunk at offset ", offset,
               " does not have the CRC32C that crc32c says"));
  }
  if (data.size() > max_bytes_ - received_) {
    return absl::ResourceExhaustedError(
        StrCat("the ", what_, " is over the limit of ", max_bytes_, " bytes"));
  }
  RETURN_IF_ERROR(bundle::WriteAll(file_.get(), data, path_));
  received_ += data.size();
  return absl::OkStatus();
}

}  // namespace octet::rpc
