// What a request wants, and where: in the answer, as slices that are the
// results' own memory, or in shared memory.

#ifndef OCTET_SERVER_RPC_OIP_OUTPUTS_H_
#define OCTET_SERVER_RPC_OIP_OUTPUTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "grpcpp/support/slice.h"
#include "inference/grpc_service.pb.h"
#include "kernels/aligned_vector.h"
#include "server/rpc/calls/timings.h"
#include "server/rpc/oip/model.h"
#include "server/rpc/oip/parameters.h"
#include "server/rpc/oip/shared_memory.h"

namespace octet::rpc::oip {

struct OutputPlace {
  std::string name;
  RegionPart part;  // without a region: in the answer
};

// Those that the request names, or all of `specs`. Errors: INVALID_ARGUMENT,
// NOT_FOUND (region).
absl::StatusOr<std::vector<OutputPlace>> ReadOutputs(
    const inference::ModelInferRequest& request,
    const std::vector<TensorSpec>& specs, const SharedMemory& memory);

// Before anything is computed: that so many bytes fit into shared memory, if
// the output goes there.
absl::Status CheckRoom(const OutputPlace& place, uint64_t bytes);

struct InferAnswer {
  inference::ModelInferResponse fields;  // all but raw_output_contents
  std::vector<grpc::Slice> tensors;      // those
  CallTimes times;
};

// Adds an output.
absl::Status AddOutput(const OutputPlace& place,
                       absl::Span<const int64_t> shape,
                       kernels::AlignedVector<float> values,
                       InferAnswer* answer);

}  // namespace octet::rpc::oip

#endif  // OCTET_SERVER_RPC_OIP_OUTPUTS_H_
