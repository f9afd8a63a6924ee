// What is exported of a loaded model: bytes by precision, kernels, outliers.

#ifndef OCTET_SERVER_SERVING_DESCRIBE_MODEL_H_
#define OCTET_SERVER_SERVING_DESCRIBE_MODEL_H_

#include "server/model/model.h"
#include "server/model/tensor.h"
#include "server/telemetry/metrics.h"

namespace octet::serving {

// Everything but the load time. `tensors` are those the model was made of:
//   as_fp32 = 4 bytes for each element of a weight, table, norm or bias
//   stored  = the bytes of those, and of what quantization adds to them
telemetry::ModelDescription Describe(const model::Model& model,
                                     const model::TensorSource& tensors);

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_DESCRIBE_MODEL_H_
