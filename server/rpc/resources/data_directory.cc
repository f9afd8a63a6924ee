#include "server/rpc/resources/data_directory.h"

#include <fcntl.h>
#include <sys/file.h>

#include <string>
#include <system_error>

#include "kernels/status_macros.h"
#include "server/model/str_cat.h"

namespace octet::rpc {

namespace fs = std::filesystem;

namespace {

absl::Status CannotUse(const fs::path& directory, const std::string& why) {
  return absl::FailedPreconditionError(model::StrCat(
      "cannot use the data directory '", directory.string(), "': ", why));
}

}  // namespace

absl::StatusOr<DataDirectory> DataDirectory::Open(const fs::path& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) return CannotUse(directory, error.message());

  auto lock = bundle::OpenFile(directory / "lock", O_RDWR | O_CREAT);
  if (!lock.ok()) {
    return CannotUse(directory, std::string(lock.status().message()));
  }
  if (flock(lock->get(), LOCK_EX | LOCK_NB) != 0) {
    return CannotUse(directory, "another server uses it");
  }
  DataDirectory result(directory, *std::move(lock));
  fs::remove_all(result.scratch(), error);
  if (!error) fs::create_directories(result.scratch(), error);
  if (error) return CannotUse(directory, error.message());
  return result;
}

}  // namespace octet::rpc
