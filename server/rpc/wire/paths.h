// Which field of a message is large (split.h): tensors, and files.

#ifndef OCTET_SERVER_RPC_WIRE_PATHS_H_
#define OCTET_SERVER_RPC_WIRE_PATHS_H_

#include "inference/grpc_service.pb.h"
#include "octet/v1/bundle_service.pb.h"
#include "octet/v1/calibration_service.pb.h"
#include "octet/v1/inference_service.pb.h"
#include "server/rpc/wire/split.h"

namespace octet::rpc {

// By type; the argument is never looked at.
const WirePath& LargeField(const v1::MatMulRequest*);        // x.data
const WirePath& LargeField(const v1::StreamMatMulRequest*);  // request.x.data
const WirePath& LargeField(const v1::ForwardRequest*);  // inputs.features.data
const WirePath& LargeField(
    const inference::ModelInferRequest*);  // raw_input_contents

const WirePath& LargeField(const v1::MatMulResponse*);        // y.data
const WirePath& LargeField(const v1::StreamMatMulResponse*);  // response.y.data
const WirePath& LargeField(const v1::ForwardResponse*);       // output.data
// raw_output_contents, infer_response.raw_output_contents
const WirePath& LargeField(const inference::ModelInferResponse*);
const WirePath& LargeField(const inference::ModelStreamInferResponse*);

// data
const WirePath& LargeField(const v1::DownloadBundleResponse*);
const WirePath& LargeField(const v1::DownloadCalibrationResponse*);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_WIRE_PATHS_H_
