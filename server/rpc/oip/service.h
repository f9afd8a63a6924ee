// GRPCInferenceService: the Open Inference Protocol over the same models,
// scheduler and stores as octet.v1. docs/open-inference-protocol.md.

#ifndef OCTET_SERVER_RPC_OIP_SERVICE_H_
#define OCTET_SERVER_RPC_OIP_SERVICE_H_

#include <memory>

namespace grpc {
class Service;
}

namespace octet::rpc {

struct Backend;
struct Edge;

// `files` is where work runs that touches disks and stores, `compute` where
// large requests are read.
std::unique_ptr<grpc::Service> MakeOpenInferenceService(const Edge& files,
                                                        const Edge& compute,
                                                        Backend* backend);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_OIP_SERVICE_H_
