#include "client/lib/checkpoints.h"

namespace octet::client {

using Stub = v1::CheckpointService::Stub;

absl::StatusOr<v1::Checkpoint> GetCheckpoint(Connection& connection,
                                             absl::string_view id) {
  v1::GetCheckpointRequest request;
  request.set_name(ResourceName("checkpoints", id));
  return Unary(connection, connection.checkpoints(), &Stub::GetCheckpoint,
               request);
}

absl::StatusOr<v1::ListCheckpointsResponse> ListCheckpoints(
    Connection& connection) {
  return Unary(connection, connection.checkpoints(), &Stub::ListCheckpoints,
               v1::ListCheckpointsRequest());
}

absl::Status DeleteCheckpoint(Connection& connection, absl::string_view id) {
  v1::DeleteCheckpointRequest request;
  request.set_name(ResourceName("checkpoints", id));
  return Unary(connection, connection.checkpoints(), &Stub::DeleteCheckpoint,
               request)
      .status();
}

}  // namespace octet::client
