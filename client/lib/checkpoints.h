// Float checkpoints on the server.

#ifndef OCTET_CLIENT_LIB_CHECKPOINTS_H_
#define OCTET_CLIENT_LIB_CHECKPOINTS_H_

#include <filesystem>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/lib/connection.h"
#include "client/lib/retry.h"

namespace octet::client {

struct UploadOptions {
  RetryPolicy retry;
  ProgressFn hashing;   // bytes, before anything is sent
  ProgressFn progress;  // bytes
};

// Uploads a checkpoint directory (which files: checkpoint_files.h) as `id`.
//
// Starts where an earlier, interrupted upload of the same files ended; when the
// connection breaks, waits and goes on from what the server holds. Attempts
// are counted anew whenever bytes got through.
absl::StatusOr<v1::Checkpoint> UploadCheckpoint(
    Connection& connection, const std::filesystem::path& directory,
    absl::string_view id, const UploadOptions& options);

absl::StatusOr<v1::Checkpoint> GetCheckpoint(Connection& connection,
                                             absl::string_view id);
absl::StatusOr<v1::ListCheckpointsResponse> ListCheckpoints(
    Connection& connection);
absl::Status DeleteCheckpoint(Connection& connection, absl::string_view id);

}  // namespace octet::client

#endif  // OCTET_CLIENT_LIB_CHECKPOINTS_H_
