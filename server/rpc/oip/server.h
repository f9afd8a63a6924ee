// What the Open Inference Protocol asks of the server itself.

#ifndef OCTET_SERVER_RPC_OIP_SERVER_H_
#define OCTET_SERVER_RPC_OIP_SERVER_H_

#include "absl/status/status.h"
#include "inference/grpc_service.pb.h"
#include "server/rpc/oip/shared_memory.h"

namespace octet::rpc::oip {

void FillServerMetadata(const SharedMemory& memory,
                        inference::ServerMetadataResponse* response);

// NOT_FOUND: the region that the request names.
absl::Status FillRegions(
    const SharedMemory& memory,
    const inference::SystemSharedMemoryStatusRequest& request,
    inference::SystemSharedMemoryStatusResponse* response);

// What is traced and logged; UNIMPLEMENTED to change it.
absl::Status FillTraceSettings(const inference::TraceSettingRequest& request,
                               inference::TraceSettingResponse* response);
absl::Status FillLogSettings(const inference::LogSettingsRequest& request,
                             inference::LogSettingsResponse* response);

}  // namespace octet::rpc::oip

#endif  // OCTET_SERVER_RPC_OIP_SERVER_H_
