// One inference of the Open Inference Protocol: the tensors of a request to a
// step or a task of the scheduler, and what came of it to an answer.

#ifndef OCTET_SERVER_RPC_OIP_INFER_H_
#define OCTET_SERVER_RPC_OIP_INFER_H_

#include <cstdint>
#include <functional>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "inference/grpc_service.pb.h"
#include "server/rpc/oip/outputs.h"
#include "server/rpc/oip/shared_memory.h"
#include "server/rpc/oip/statistics.h"
#include "server/rpc/resources/backend.h"
#include "server/rpc/wire/message.h"

namespace octet::rpc::oip {

// What inferences have in common.
struct InferContext {
  Backend* backend;
  SharedMemory* memory;
  Statistics* statistics;
};

// Who waits for the answer.
struct Caller {
  absl::Time arrival;
  absl::Time deadline;
  absl::Duration queued;  // waited to be read
  std::function<bool()> cancelled;
  // WireRequest::Expect; asked before Infer returns.
  std::function<absl::Status(std::string_view field, uint64_t answer_bytes)>
      expect;
};

// Reads the request here and now, all of it but the elements of x, which are
// copied where they are computed, and submits it. `done` is called once, on
// this thread or on a worker. Errors: those of model.h, inputs.h,
// outputs.h, padding.h and of the scheduler.
void Infer(const InferContext& context, Caller caller,
           Received<inference::ModelInferRequest> request,
           std::function<void(absl::StatusOr<InferAnswer>)> done);

// On streams: whether the client asked to be told that no other answer to a
// request comes (triton_enable_empty_final_response).
bool WantsFinalMark(const inference::ModelInferRequest& request);
void MarkFinal(inference::ModelInferResponse& response);

}  // namespace octet::rpc::oip

#endif  // OCTET_SERVER_RPC_OIP_INFER_H_
