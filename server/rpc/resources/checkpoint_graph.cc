#include "server/rpc/resources/checkpoint_graph.h"

#include "kernels/status_macros.h"
#include "server/bundle/bundle.h"
#include "server/model/importer.h"
#include "server/quantization/calibration/fingerprint.h"

namespace octet::rpc {

absl::StatusOr<CheckpointGraph> ImportGraph(
    const bundle::DirectoryStore& checkpoints, const std::string& id) {
  ASSIGN_OR_RETURN(const auto directory, checkpoints.Find(id));
  ASSIGN_OR_RETURN(const bundle::ModelFiles files,
                   bundle::OpenCheckpoint(directory));
  CheckpointGraph checkpoint;
  ASSIGN_OR_RETURN(checkpoint.graph,
                   model::Import(files.configs, *files.tensors));
  ASSIGN_OR_RETURN(checkpoint.fingerprint,
                   quantization::Fingerprint(*files.tensors));
  return checkpoint;
}

}  // namespace octet::rpc
