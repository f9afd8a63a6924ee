#include "server/rpc/resources/checkpoint_graph.h"

#include <filesystem>

#include "kernels/status_macros.h"
#include "server/bundle/bundle.h"
#include "server/model/importer.h"
#include "server/quantization/calibration/fingerprint.h"

namespace octet::rpc {
namespace {

absl::StatusOr<CheckpointGraph> Import(const std::filesystem::path& directory) {
  ASSIGN_OR_RETURN(const bundle::ModelFiles files,
                   bundle::OpenCheckpoint(directory));
  CheckpointGraph checkpoint;
  ASSIGN_OR_RETURN(checkpoint.graph,
                   model::Import(files.configs, *files.tensors));
  ASSIGN_OR_RETURN(checkpoint.fingerprint,
                   quantization::Fingerprint(*files.tensors));
  return checkpoint;
}

}  // namespace

absl::StatusOr<CheckpointGraph> ImportGraph(
    const bundle::DirectoryStore& checkpoints, const std::string& id) {
  ASSIGN_OR_RETURN(const auto directory, checkpoints.Find(id));
  absl::StatusOr<CheckpointGraph> checkpoint = Import(directory);
  if (!checkpoint.ok()) {
    return checkpoints.WhyUnreadable(id, checkpoint.status());
  }
  return checkpoint;
}

}  // namespace octet::rpc
