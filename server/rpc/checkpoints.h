// Checkpoints as directories: checked when they arrive, described from what
// they hold.

#ifndef OCTET_SERVER_RPC_CHECKPOINTS_H_
#define OCTET_SERVER_RPC_CHECKPOINTS_H_

#include <cstdint>
#include <filesystem>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/bundle/directory_store.h"
#include "server/bundle/upload.h"
#include "server/model/graph.h"

namespace octet::rpc {

// A model can be imported from it and every float is finite. Errors speak to
// whoever uploaded it: INVALID_ARGUMENT or UNIMPLEMENTED.
absl::Status ValidateCheckpoint(const std::filesystem::path& directory);

struct CheckpointSummary {
  model::Graph graph;
  int64_t parameters = 0;
  absl::Time create_time;
  std::vector<bundle::UploadFile> files;
};

absl::StatusOr<CheckpointSummary> DescribeCheckpoint(
    const std::filesystem::path& directory);

// To be called at start. Finishes the publishing that a crash interrupted, and
// discards staging directories that no upload can be resumed from.
absl::Status RecoverUploads(const bundle::DirectoryStore& checkpoints);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_CHECKPOINTS_H_
