// A calibration from one server to another: its file in pieces.

#ifndef OCTET_SERVER_RPC_CALIBRATION_TRANSFER_H_
#define OCTET_SERVER_RPC_CALIBRATION_TRANSFER_H_

#include <filesystem>
#include <memory>

#include "absl/status/status.h"
#include "grpcpp/support/byte_buffer.h"
#include "octet/v1/calibration_service.pb.h"
#include "server/rpc/calls/reactors.h"
#include "server/rpc/resources/backend.h"

namespace octet::rpc {

// The file as it is now, even if it is replaced meanwhile. CANCELLED once the
// client is gone.
absl::Status SendCalibration(const std::filesystem::path& path,
                             Outbox<grpc::ByteBuffer>* outbox);

// Publishes what came once all of it is read and found to fit the checkpoint.
std::unique_ptr<StreamHandler<v1::UploadCalibrationRequest>> ReceiveCalibration(
    Backend* backend, v1::Calibration* response);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_CALIBRATION_TRANSFER_H_
