// Calibrations as messages of octet.v1.

#ifndef OCTET_SERVER_RPC_CALIBRATION_MESSAGES_H_
#define OCTET_SERVER_RPC_CALIBRATION_MESSAGES_H_

#include <string_view>

#include "absl/status/status.h"
#include "octet/v1/calibration_service.pb.h"
#include "server/bundle/directory_store.h"
#include "server/quantization/calibration/calibration.h"
#include "server/rpc/resources/calibration_store.h"
#include "server/rpc/resources/captures.h"

namespace octet::rpc {

// Everything but the layers.
absl::Status FillSummary(const CalibrationStore& store, std::string_view id,
                         const quantization::Calibration& calibration,
                         v1::Calibration* out);

// The last capture into it, if there was one since the server started.
void FillCapture(const Captures& captures, std::string_view id,
                 v1::Calibration* out);

// The layers in execution order; by name once the checkpoint is gone. With
// `channels`, also the range of each of their input channels.
void FillLayers(const bundle::DirectoryStore& checkpoints,
                const quantization::Calibration& calibration, bool channels,
                v1::Calibration* out);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_CALIBRATION_MESSAGES_H_
