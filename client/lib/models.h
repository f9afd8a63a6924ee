// Models that are loaded and served.

#ifndef OCTET_CLIENT_LIB_MODELS_H_
#define OCTET_CLIENT_LIB_MODELS_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/lib/connection.h"

namespace octet::client {

// `source` is "bundles/{id}" or "checkpoints/{id}".
absl::StatusOr<v1::Model> LoadModel(Connection& connection,
                                    absl::string_view id,
                                    absl::string_view source);
// With a version, a traffic share.
absl::StatusOr<v1::Model> LoadModel(Connection& connection,
                                    const v1::LoadModelRequest& request);

// Here an `id` may also be "models/{id}/versions/{number}".
absl::Status UnloadModel(Connection& connection, absl::string_view id);
absl::StatusOr<v1::Model> GetModel(Connection& connection,
                                   absl::string_view id);
absl::StatusOr<v1::ListModelsResponse> ListModels(Connection& connection);
absl::StatusOr<v1::ModelStats> GetModelStats(Connection& connection,
                                             absl::string_view id);

}  // namespace octet::client

#endif  // OCTET_CLIENT_LIB_MODELS_H_
