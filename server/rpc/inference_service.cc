// InferenceService: requests to matrices, matrices to answers.

#include <memory>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "kernels/status_macros.h"
#include "octet/v1/inference_service.grpc.pb.h"
#include "server/model/model.h"
#include "server/rpc/backend.h"
#include "server/rpc/messages.h"
#include "server/rpc/reactors.h"
#include "server/rpc/resource_names.h"
#include "server/rpc/services.h"
#include "server/rpc/tensors.h"
#include "server/serving/model_registry.h"
#include "server/telemetry/metrics.h"

namespace octet::rpc {
namespace {

using grpc::CallbackServerContext;
using grpc::ServerBidiReactor;
using grpc::ServerUnaryReactor;
using ModelPtr = std::shared_ptr<const serving::LoadedModel>;

// An error of the model about the input it was given, with the field that
// holds the input.
absl::Status AboutInput(std::string_view field, const absl::Status& status) {
  return absl::IsInvalidArgument(status) ? InsideField(field, status) : status;
}

absl::StatusOr<model::OutputKind> OutputKindOf(v1::OutputKind kind) {
  switch (kind) {
    case v1::OUTPUT_KIND_UNSPECIFIED:
    case v1::OUTPUT_KIND_MODEL:
      return model::OutputKind::kOutput;
    case v1::OUTPUT_KIND_HIDDEN_STATES:
      return model::OutputKind::kHidden;
    default:
      return FieldViolation("output", "is no known kind of output");
  }
}

// Measures the stages of one request that are the edge's own; those of the
// computation are exported where it is done.
class StageTimer {
 public:
  StageTimer(telemetry::Metrics* metrics, const Call& call)
      : metrics_(*metrics), call_(call), mark_(absl::Now()) {}

  void Decoded(const serving::LoadedModel& model) {
    metrics_.StageDuration(model.id(), telemetry::Stage::kQueue,
                           absl::ToDoubleSeconds(call_.queued));
    Export(model, telemetry::Stage::kDecode);
  }
  void Computed() { mark_ = absl::Now(); }
  void Encoded(const serving::LoadedModel& model) {
    Export(model, telemetry::Stage::kEncode);
  }

  void Fill(const kernels::PhaseTimes& times, v1::Timings* out) const {
    *out->mutable_queue() = ToDuration(call_.queued);
    *out->mutable_quantize() = ToDuration(absl::Nanoseconds(times.quantize_ns));
    *out->mutable_dot() = ToDuration(absl::Nanoseconds(times.dot_ns));
    *out->mutable_dequantize() =
        ToDuration(absl::Nanoseconds(times.dequantize_ns));
    *out->mutable_outlier() = ToDuration(absl::Nanoseconds(times.outlier_ns));
    *out->mutable_total() = ToDuration(absl::Now() - call_.arrival);
  }

 private:
  void Export(const serving::LoadedModel& model, telemetry::Stage stage) {
    const absl::Time now = absl::Now();
    metrics_.StageDuration(model.id(), stage,
                           absl::ToDoubleSeconds(now - mark_));
    mark_ = now;
  }

  telemetry::Metrics& metrics_;
  const Call& call_;
  absl::Time mark_;
};

class InferenceService final : public v1::InferenceService::CallbackService {
 public:
  InferenceService(const Edge& edge, Backend* backend)
      : edge_(edge), backend_(*backend) {}

  ServerUnaryReactor* MatMul(CallbackServerContext* context,
                             const v1::MatMulRequest* request,
                             v1::MatMulResponse* response) override {
    return Reply(edge_, "InferenceService/MatMul", context, request, response,
                 [=, this](const Call& call) {
                   return RunMatMul(*request, call, response);
                 });
  }

  ServerBidiReactor<v1::StreamMatMulRequest, v1::StreamMatMulResponse>*
  StreamMatMul(CallbackServerContext* context) override {
    return Converse<v1::StreamMatMulRequest, v1::StreamMatMulResponse>(
        edge_, "InferenceService/StreamMatMul", context,
        [this](const v1::StreamMatMulRequest& request, const Call& call,
               v1::StreamMatMulResponse* response) {
          response->set_id(request.id());
          return AboutInput("request", RunMatMul(request.request(), call,
                                                 response->mutable_response()));
        });
  }

  ServerUnaryReactor* Forward(CallbackServerContext* context,
                              const v1::ForwardRequest* request,
                              v1::ForwardResponse* response) override {
    return Reply(edge_, "InferenceService/Forward", context, request, response,
                 [=, this](const Call& call) {
                   return RunForward(*request, call, response);
                 });
  }

 private:
  absl::StatusOr<ModelPtr> Find(const std::string& name) const {
    ASSIGN_OR_RETURN(const std::string id, ParseName("model", kModels, name));
    return backend_.models->Find(id);
  }

  absl::Status RunMatMul(const v1::MatMulRequest& request, const Call& call,
                         v1::MatMulResponse* response) const {
    ASSIGN_OR_RETURN(const ModelPtr model, Find(request.model()));
    ASSIGN_OR_RETURN(const v1::DataType type,
                     OutputType(request.output_type()));
    StageTimer timer(edge_.metrics, call);
    ASSIGN_OR_RETURN(const FloatMatrix x,
                     FloatMatrix::Decode("x", request.x()));
    timer.Decoded(*model);

    kernels::PhaseTimes times;
    ASSIGN_OR_RETURN(
        const model::ModelOutput y,
        model->MatMul(request.layer(), x.view(),
                      {backend_.pool, backend_.allow_non_finite}, &times));
    timer.Computed();

    Encode(y, type, response->mutable_y());
    timer.Encoded(*model);
    timer.Fill(times, response->mutable_timings());
    return absl::OkStatus();
  }

  absl::Status RunForward(const v1::ForwardRequest& request, const Call& call,
                          v1::ForwardResponse* response) const {
    ASSIGN_OR_RETURN(const ModelPtr model, Find(request.model()));
    ASSIGN_OR_RETURN(const v1::DataType type,
                     OutputType(request.output_type()));
    model::RunOptions options;
    ASSIGN_OR_RETURN(options.output, OutputKindOf(request.output()));
    options.pool = backend_.pool;
    options.allow_non_finite = backend_.allow_non_finite;
    options.cancelled = [&call] {
      return call.cancelled() || absl::Now() >= call.deadline;
    };
    StageTimer timer(edge_.metrics, call);
    const auto input = DecodeInputs(request.inputs(), model->model().graph());
    if (!input.ok()) return AboutInput("inputs", input.status());
    timer.Decoded(*model);

    kernels::PhaseTimes times;
    const auto output = model->Forward(*input, std::move(options), &times);
    if (!output.ok()) return WhyNot(call, output.status());
    timer.Computed();

    Encode(*output, type, response->mutable_output());
    timer.Encoded(*model);
    timer.Fill(times, response->mutable_timings());
    return absl::OkStatus();
  }

  // A run that stopped for its deadline says so.
  static absl::Status WhyNot(const Call& call, const absl::Status& status) {
    if (absl::IsCancelled(status) && absl::Now() >= call.deadline) {
      return absl::DeadlineExceededError(
          "the deadline passed while the request was computed");
    }
    return AboutInput("inputs", status);
  }

  const Edge edge_;
  Backend& backend_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeInferenceService(const Edge& compute,
                                                    Backend* backend) {
  return std::make_unique<InferenceService>(compute, backend);
}

}  // namespace octet::rpc
