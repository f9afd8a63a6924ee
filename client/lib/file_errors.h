// What is said of a file that cannot be read.

#ifndef OCTET_CLIENT_LIB_FILE_ERRORS_H_
#define OCTET_CLIENT_LIB_FILE_ERRORS_H_

#include <cerrno>
#include <filesystem>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace octet::client {

// "cannot read PATH: Permission denied", with the code that goes with `error`,
// an errno: NOT_FOUND, PERMISSION_DENIED and the like.
inline absl::Status CannotRead(const std::filesystem::path& path, int error) {
  // Streams that fail need not say why.
  return absl::ErrnoToStatus(error != 0 ? error : EIO,
                             absl::StrCat("cannot read ", path.string()));
}

}  // namespace octet::client

#endif  // OCTET_CLIENT_LIB_FILE_ERRORS_H_
