// What depends on checkpoints and bundles, and their end: nothing goes while a
// model, a capture or an operation needs it.

#ifndef OCTET_SERVER_RPC_RESOURCES_DEPENDENCIES_H_
#define OCTET_SERVER_RPC_RESOURCES_DEPENDENCIES_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/rpc/resources/backend.h"
#include "server/serving/loaded_model.h"
#include "server/serving/model_registry.h"

namespace octet::rpc {

// ModelRegistry::Load of a source that stays until it is loaded.
absl::StatusOr<std::shared_ptr<const serving::LoadedModel>> LoadModel(
    Backend& backend, std::string_view id, std::string_view source,
    const serving::LoadOptions& options = {});

// NOT_FOUND; ABORTED while somebody writes it; FAILED_PRECONDITION says what
// depends on it.
absl::Status DeleteBundle(Backend& backend, const std::string& id);
// The same, and with it what there is of an upload.
absl::Status DeleteCheckpoint(Backend& backend, const std::string& id);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_RESOURCES_DEPENDENCIES_H_
