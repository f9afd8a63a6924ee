// A checkpoint's operator graph, without its weights.

#ifndef OCTET_SERVER_RPC_RESOURCES_CHECKPOINT_GRAPH_H_
#define OCTET_SERVER_RPC_RESOURCES_CHECKPOINT_GRAPH_H_

#include <string>

#include "absl/status/statusor.h"
#include "server/bundle/directory_store.h"
#include "server/model/graph.h"

namespace octet::rpc {

struct CheckpointGraph {
  model::Graph graph;
  std::string fingerprint;  // of its weights (fingerprint.h)
};

// Errors: NOT_FOUND, DATA_LOSS.
absl::StatusOr<CheckpointGraph> ImportGraph(
    const bundle::DirectoryStore& checkpoints, const std::string& id);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_RESOURCES_CHECKPOINT_GRAPH_H_
