// One inference of the Open Inference Protocol: the tensors of a request to a
// step or a task of the scheduler, and what came of it to an answer.

#ifndef OCTET_SERVER_RPC_OIP_INFER_H_
#define OCTET_SERVER_RPC_OIP_INFER_H_

#include <functional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "inference/grpc_service.pb.h"
#include "server/rpc/backend.h"
#include "server/rpc/oip_shared_memory.h"
#include "server/rpc/oip_statistics.h"

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
  std::function<bool()> cancelled;
};

// Reads the request here and now, and submits it. `done` is called once, on
// this thread or on a worker, when `response` is filled or with what is wrong:
// the errors of oip_model.h, oip_tensors.h and oip_tokens.h, and those of the
// scheduler. `request` and `response` stay where they are until then.
void Infer(const InferContext& context, const Caller& caller,
           const inference::ModelInferRequest* request,
           inference::ModelInferResponse* response,
           std::function<void(const absl::Status&)> done);

// On streams: says that no other answer to the request comes, to a client that
// asked to be told (triton_enable_empty_final_response).
void MarkFinal(const inference::ModelInferRequest& request,
               inference::ModelInferResponse& response);

}  // namespace octet::rpc::oip

#endif  // OCTET_SERVER_RPC_OIP_INFER_H_
