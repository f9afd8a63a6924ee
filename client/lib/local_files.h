// What reading and writing of files on this machine have in common.

#ifndef OCTET_CLIENT_LIB_LOCAL_FILES_H_
#define OCTET_CLIENT_LIB_LOCAL_FILES_H_

#include <cerrno>
#include <cstdint>
#include <filesystem>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace octet::client {

// Hears of each block, which has so many bytes; an error ends the work. Files
// may be large: this is how it is cancelled.
using BlockFn = absl::FunctionRef<absl::Status(int64_t bytes)>;

// "cannot read PATH: Permission denied", with the code that goes with `error`,
// an errno: NOT_FOUND, PERMISSION_DENIED and the like.
inline absl::Status CannotRead(const std::filesystem::path& path, int error) {
  // Streams that fail need not say why.
  return absl::ErrnoToStatus(error != 0 ? error : EIO,
                             absl::StrCat("cannot read ", path.string()));
}

}  // namespace octet::client

#endif  // OCTET_CLIENT_LIB_LOCAL_FILES_H_
