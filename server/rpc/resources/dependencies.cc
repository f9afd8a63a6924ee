#include "server/rpc/resources/dependencies.h"

#include <filesystem>

#include "absl/synchronization/mutex.h"
#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/quantization/job/operations.h"
#include "server/rpc/resources/captures.h"
#include "server/rpc/resources/leases.h"
#include "server/rpc/resources/resource_names.h"

namespace octet::rpc {

namespace fs = std::filesystem;

namespace {

using model::StrCat;

absl::Status CheckUnused(const Backend& backend, std::string_view kind,
                         std::string_view id, const std::string& name) {
  if (!backend.models->Uses(name)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      StrCat(kind, " '", id, "' is in use: a model is loaded from it"));
}

absl::Status CheckUnusedCheckpoint(const Backend& backend,
                                   const std::string& id) {
  RETURN_IF_ERROR(
      CheckUnused(backend, "checkpoint", id, ResourceName(kCheckpoints, id)));
  if (const auto calibration = backend.captures->UserOf(id)) {
    return absl::FailedPreconditionError(
        StrCat("checkpoint '", id, "' is in use: a capture into '",
               ResourceName(kCalibrations, *calibration), "' needs it"));
  }
  for (const auto& operation : backend.operations->List()) {
    if (operation.done() || operation.checkpoint != id) continue;
    return absl::FailedPreconditionError(StrCat("checkpoint '", id,
                                                "' is in use: operation '",
                                                operation.id, "' reads it"));
  }
  return absl::OkStatus();
}

// From here on nothing new can depend on it.
absl::StatusOr<fs::path> HideBundle(Backend& backend, const std::string& id) {
  absl::WriterMutexLock lock(&backend.dependencies);
  RETURN_IF_ERROR(
      CheckUnused(backend, "bundle", id, ResourceName(kBundles, id)));
  return backend.bundles.Hide(id);
}

absl::StatusOr<fs::path> HideCheckpoint(Backend& backend,
                                        const std::string& id) {
  absl::WriterMutexLock lock(&backend.dependencies);
  RETURN_IF_ERROR(CheckUnusedCheckpoint(backend, id));
  return backend.checkpoints.Hide(id);
}

}  // namespace

absl::StatusOr<std::shared_ptr<const serving::LoadedModel>> LoadModel(
    Backend& backend, std::string_view id, std::string_view source,
    const serving::LoadOptions& options) {
  std::unique_ptr<const serving::ModelRegistry::Loading> loading;
  {
    absl::ReaderMutexLock lock(&backend.dependencies);
    ASSIGN_OR_RETURN(loading, backend.models->BeginLoad(id, source, options));
  }
  return backend.models->Load(*loading);
}

absl::Status DeleteBundle(Backend& backend, const std::string& id) {
  RETURN_IF_ERROR(backend.bundles.Find(id).status());
  ASSIGN_OR_RETURN(const Lease lease,
                   backend.leases.Acquire(ResourceName(kBundles, id)));
  ASSIGN_OR_RETURN(const fs::path hidden, HideBundle(backend, id));
  return backend.bundles.Reclaim(hidden);
}

absl::Status DeleteCheckpoint(Backend& backend, const std::string& id) {
  const bundle::DirectoryStore& checkpoints = backend.checkpoints;
  if (!checkpoints.IsStaged(id)) {
    RETURN_IF_ERROR(checkpoints.Find(id).status());
  }
  ASSIGN_OR_RETURN(const Lease lease,
                   backend.leases.Acquire(ResourceName(kCheckpoints, id)));
  const bool abandoned = checkpoints.IsStaged(id);
  RETURN_IF_ERROR(checkpoints.Discard(id));
  // One that is published can have a staging directory too, which a crash left.
  if (abandoned && !checkpoints.Find(id).ok()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const fs::path hidden, HideCheckpoint(backend, id));
  // Not under the lock: it waits for a float model that is loaded just now.
  backend.float_models.Forget(id);
  return checkpoints.Reclaim(hidden);
}

}  // namespace octet::rpc
