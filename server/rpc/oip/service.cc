#include "server/rpc/oip/service.h"

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "inference/grpc_service.grpc.pb.h"
#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/rpc/calls/reactors.h"
#include "server/rpc/calls/status.h"
#include "server/rpc/calls/timings.h"
#include "server/rpc/calls/wire_reactors.h"
#include "server/rpc/oip/control.h"
#include "server/rpc/oip/infer.h"
#include "server/rpc/wire/message.h"

namespace octet::rpc {
namespace {

using grpc::ByteBuffer;
using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;
using inference::ModelInferRequest;
using inference::ModelStreamInferResponse;

// Tensors are taken from the wire as they came, and put on it as they are.
using Rpc = inference::GRPCInferenceService;
using RawService = Rpc::WithRawCallbackMethod_ModelInfer<
    Rpc::WithRawCallbackMethod_ModelStreamInfer<oip::ControlCalls>>;

// A stream has one trailer for all of its answers: times are in each.
ByteBuffer StreamAnswer(const std::string& id, bool final,
                        absl::StatusOr<oip::InferAnswer> answer) {
  ModelStreamInferResponse response;
  std::vector<grpc::Slice> tensors;
  if (answer.ok()) {
    *response.mutable_infer_response() = std::move(answer->fields);
    tensors = std::move(answer->tensors);
    auto& parameters = *response.mutable_infer_response()->mutable_parameters();
    parameters[kServerTiming].set_string_param(ServerTiming(answer->times));
  } else {
    const absl::Status& status = answer.status();
    response.mutable_infer_response()->set_id(id);
    response.set_error_message(model::StrCat(
        CodeName(status.code()), ": ", ToGrpcStatus(status).error_message()));
  }
  if (final) oip::MarkFinal(*response.mutable_infer_response());
  return MakeMessage(LargeField(&response), response, tensors);
}

class OpenInferenceService final : public RawService {
 public:
  OpenInferenceService(const Edge& files, const Edge& compute, Backend* backend)
      : compute_(compute) {
    shared_ = std::make_unique<oip::Shared>(files, backend);
  }

  ServerUnaryReactor* ModelInfer(CallbackServerContext* context,
                                 const ByteBuffer* request,
                                 ByteBuffer* response) override {
    return ReplyWire(
        compute_, "GRPCInferenceService/ModelInfer", context, request, response,
        [this](WireRequest& wire, WireAnswer answer) -> absl::Status {
          Received<ModelInferRequest> received;
          RETURN_IF_ERROR(received.Parse(&wire.bytes));
          Infer(wire, std::move(received),
                [unary = wire.unary, answer = std::move(answer)](
                    absl::StatusOr<oip::InferAnswer> result) {
                  if (!result.ok()) return answer(result.status());
                  AddServerTiming(result->times, unary);
                  answer(GuardedValue([&] {
                    return MakeMessage(LargeField(&result->fields),
                                       result->fields, result->tensors);
                  }));
                });
          return absl::OkStatus();
        });
  }

  // A request that fails is answered by its error, and the stream goes on.
  grpc::ServerBidiReactor<ByteBuffer, ByteBuffer>* ModelStreamInfer(
      CallbackServerContext* context) override {
    return PipelineWire(
        compute_, "GRPCInferenceService/ModelStreamInfer", context,
        PipelineOptions(),
        [this](WireRequest& wire, WireAnswer answer) -> absl::Status {
          Received<ModelInferRequest> received;
          RETURN_IF_ERROR(received.Parse(&wire.bytes));
          const bool final = oip::WantsFinalMark(received.fields);
          wire.note->id = received.fields.id();
          Infer(wire, std::move(received),
                [note = wire.note, final, answer = std::move(answer)](
                    absl::StatusOr<oip::InferAnswer> result) {
                  note->status = result.status();
                  answer(GuardedValue([&] {
                    return StreamAnswer(note->id, final, std::move(result));
                  }));
                });
          return absl::OkStatus();
        });
  }

 private:
  void Infer(const WireRequest& wire, Received<ModelInferRequest> received,
             std::function<void(absl::StatusOr<oip::InferAnswer>)> done) {
    wire.note->model = received.fields.model_name();
    oip::Infer({shared_->backend, &shared_->memory, &shared_->statistics},
               {wire.arrival, wire.deadline, wire.queued, wire.cancelled,
                [&wire](std::string_view field, uint64_t answer_bytes) {
                  return wire.Expect(field, answer_bytes);
                }},
               std::move(received),
               [note = wire.note, done = std::move(done)](
                   absl::StatusOr<oip::InferAnswer> answer) {
                 if (answer.ok()) note->queued = answer->times.queue;
                 done(std::move(answer));
               });
  }

  const Edge compute_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeOpenInferenceService(const Edge& files,
                                                        const Edge& compute,
                                                        Backend* backend) {
  return std::make_unique<OpenInferenceService>(files, compute, backend);
}

}  // namespace octet::rpc
