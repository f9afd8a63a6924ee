// The services of octet.v1, one file each. They parse, look up, call and
// convert; what they call knows nothing of gRPC.

#ifndef OCTET_SERVER_RPC_SERVICES_H_
#define OCTET_SERVER_RPC_SERVICES_H_

#include <memory>

namespace grpc {
class Service;
}

namespace octet::rpc {

struct Backend;
struct Edge;

// `files` is where work runs that touches disks and stores, `transfers` where a
// worker may wait for a client. Inference runs where the scheduler puts it.
std::unique_ptr<grpc::Service> MakeCheckpointService(const Edge& files,
                                                     Backend* backend);
std::unique_ptr<grpc::Service> MakeCalibrationService(const Edge& files,
                                                      const Edge& transfers,
                                                      Backend* backend);
std::unique_ptr<grpc::Service> MakeQuantizationService(const Edge& files,
                                                       Backend* backend);
std::unique_ptr<grpc::Service> MakeBundleService(const Edge& files,
                                                 const Edge& transfers,
                                                 Backend* backend);
std::unique_ptr<grpc::Service> MakeModelService(const Edge& files,
                                                Backend* backend);
std::unique_ptr<grpc::Service> MakeInferenceService(const Edge& edge,
                                                    Backend* backend);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_SERVICES_H_
