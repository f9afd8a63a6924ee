// One stream of batches into one calibration.

#ifndef OCTET_SERVER_RPC_CALIBRATION_BATCHES_H_
#define OCTET_SERVER_RPC_CALIBRATION_BATCHES_H_

#include <memory>

#include "octet/v1/calibration_service.pb.h"
#include "server/rpc/calls/reactors.h"
#include "server/rpc/resources/backend.h"

namespace octet::rpc {

// What the stream accepted is saved every few batches and before it ends in
// whatever way.
std::unique_ptr<StreamHandler<v1::UploadCalibrationBatchesRequest>>
ReceiveCalibrationBatches(Backend* backend,
                          v1::UploadCalibrationBatchesResponse* response);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_CALIBRATION_BATCHES_H_
