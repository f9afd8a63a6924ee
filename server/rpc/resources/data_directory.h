// The server's data directory, held by one server at a time.

#ifndef OCTET_SERVER_RPC_RESOURCES_DATA_DIRECTORY_H_
#define OCTET_SERVER_RPC_RESOURCES_DATA_DIRECTORY_H_

#include <filesystem>
#include <utility>

#include "absl/status/statusor.h"
#include "server/bundle/io.h"

namespace octet::rpc {

class DataDirectory {
 public:
  // Creates it if needed, and empties its scratch folder. FAILED_PRECONDITION
  // when another process holds it.
  static absl::StatusOr<DataDirectory> Open(
      const std::filesystem::path& directory);

  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path calibrations() const { return path_ / "calibrations"; }
  std::filesystem::path bundles() const { return path_ / "bundles"; }
  std::filesystem::path operations() const { return path_ / "operations"; }
  std::filesystem::path models() const { return path_ / "models.json"; }
  std::filesystem::path scratch() const { return path_ / "scratch"; }

 private:
  DataDirectory(std::filesystem::path path, bundle::FileDescriptor lock)
      : path_(std::move(path)), lock_(std::move(lock)) {}

  std::filesystem::path path_;
  bundle::FileDescriptor lock_;
};

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_RESOURCES_DATA_DIRECTORY_H_
