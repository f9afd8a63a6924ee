// The repository as the Open Inference Protocol sees it: what is served, and
// the bundles and checkpoints that could be.

#ifndef OCTET_SERVER_RPC_OIP_REPOSITORY_H_
#define OCTET_SERVER_RPC_OIP_REPOSITORY_H_

#include "absl/status/status.h"
#include "inference/grpc_service.pb.h"
#include "server/rpc/resources/backend.h"

namespace octet::rpc::oip {

// Every version that is loaded, with its state; a set of layers with each of
// its layers, since they are what can be asked for. What is not loaded, or
// could not be, is UNAVAILABLE.
absl::Status ListRepository(const Backend& backend,
                            const inference::RepositoryIndexRequest& request,
                            inference::RepositoryIndexResponse* response);

// Loads, under the name it is asked for, the first of: the parameter `source`
// ("bundles/x"); `source` among the parameters of the parameter `config`, a
// ModelConfig in JSON; the source of the model that is served under the name;
// the bundle of that name; the checkpoint of that name.
absl::Status LoadFromRepository(
    Backend& backend, const inference::RepositoryModelLoadRequest& request);

absl::Status UnloadFromRepository(
    Backend& backend, const inference::RepositoryModelUnloadRequest& request);

}  // namespace octet::rpc::oip

#endif  // OCTET_SERVER_RPC_OIP_REPOSITORY_H_
