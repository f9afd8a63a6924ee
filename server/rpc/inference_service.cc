// InferenceService: requests to matrices, matrices to answers.

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "kernels/status_macros.h"
#include "octet/v1/inference_service.grpc.pb.h"
#include "server/model/model.h"
#include "server/rpc/calls/reactors.h"
#include "server/rpc/calls/status.h"
#include "server/rpc/calls/timings.h"
#include "server/rpc/calls/wire_reactors.h"
#include "server/rpc/messages.h"
#include "server/rpc/resources/backend.h"
#include "server/rpc/resources/resource_names.h"
#include "server/rpc/services.h"
#include "server/rpc/tensors.h"
#include "server/rpc/wire/message.h"
#include "server/serving/model_registry.h"
#include "server/serving/scheduler.h"
#include "server/telemetry/metrics.h"

namespace octet::rpc {
namespace {

using grpc::ByteBuffer;
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
  StageTimer(telemetry::Metrics* metrics, const WireRequest& wire)
      : metrics_(*metrics),
        note_(*wire.note),
        arrival_(wire.arrival),
        queued_(wire.queued),
        mark_(absl::Now()) {}

  void Start() { mark_ = absl::Now(); }
  void End(const serving::LoadedModel& model, telemetry::Stage stage) {
    metrics_.StageDuration(model.id(), stage,
                           absl::ToDoubleSeconds(absl::Now() - mark_));
  }
  // The first part of decoding, where the rest of it is done elsewhere.
  void Read() { read_ = absl::Now() - mark_; }
  void Decoded(const serving::LoadedModel& model, absl::Duration rest) {
    metrics_.StageDuration(model.id(), telemetry::Stage::kDecode,
                           absl::ToDoubleSeconds(read_ + rest));
  }
  // After what it waited to be read.
  void Queued(const serving::LoadedModel& model, absl::Duration queued) {
    queued_ += queued;
    note_.queued = queued_;
    metrics_.StageDuration(model.id(), telemetry::Stage::kQueue,
                           absl::ToDoubleSeconds(queued_));
  }

  CallTimes Times(const kernels::PhaseTimes& phases) const {
    return {queued_, phases, absl::Now() - arrival_};
  }

 private:
  telemetry::Metrics& metrics_;
  RequestNote& note_;
  const absl::Time arrival_;
  absl::Duration queued_;
  absl::Duration read_;
  absl::Time mark_;
};

absl::StatusOr<serving::Priority> PriorityOf(v1::Priority priority) {
  switch (priority) {
    case v1::PRIORITY_HIGH:
      return serving::Priority::kHigh;
    case v1::PRIORITY_UNSPECIFIED:
    case v1::PRIORITY_NORMAL:
      return serving::Priority::kNormal;
    case v1::PRIORITY_LOW:
      return serving::Priority::kLow;
    default:
      return FieldViolation("priority", "is no known priority");
  }
}

// In the message, and in the trailing metadata of a unary call.
void Report(const CallTimes& times, CallbackServerContext* unary,
            v1::Timings* timings) {
  FillTimings(times, timings);
  if (unary != nullptr) AddServerTiming(times, unary);
}

// An answer whose tensor is still apart from its message.
template <typename Message>
struct Result {
  Message fields;
  grpc::Slice tensor;

  ByteBuffer Serialize() const {
    return MakeMessage(LargeField(&fields), fields, {&tensor, 1});
  }
};

using MatMulResult = Result<v1::MatMulResponse>;
using MatMulDone = std::function<void(absl::StatusOr<MatMulResult>)>;

// One product with one layer, from its request to its answer.
struct MatMulJob {
  v1::MatMulRequest fields;
  ReceivedBytes bytes;  // x.data
  StageTimer timer;
  CallbackServerContext* unary = nullptr;
  MatMulDone done = nullptr;
  ModelPtr model = nullptr;
  std::optional<WireMatrix> x = std::nullopt;  // in `bytes`
  v1::DataType output_type = v1::DATA_TYPE_F32;
};

// The same of a whole model.
struct ForwardJob {
  StageTimer timer;
  CallbackServerContext* unary;
  WireAnswer answer;
  ReceivedBytes bytes;  // inputs.features.data
  ModelPtr model = nullptr;
  v1::DataType output_type = v1::DATA_TYPE_F32;
};

using RawService = v1::InferenceService::WithRawCallbackMethod_MatMul<
    v1::InferenceService::WithRawCallbackMethod_StreamMatMul<
        v1::InferenceService::WithRawCallbackMethod_Forward<
            v1::InferenceService::Service>>>;

class InferenceService final : public RawService {
 public:
  InferenceService(const Edge& edge, Backend* backend)
      : edge_(edge), backend_(*backend) {}

  ServerUnaryReactor* MatMul(CallbackServerContext* context,
                             const ByteBuffer* request,
                             ByteBuffer* response) override {
    return ReplyWire(
        edge_, "InferenceService/MatMul", context, request, response,
        [this](WireRequest& wire, WireAnswer answer) -> absl::Status {
          Received<v1::MatMulRequest> received;
          StageTimer timer(edge_.metrics, wire);
          RETURN_IF_ERROR(received.Parse(&wire.bytes));
          auto job = std::make_shared<MatMulJob>(
              MatMulJob{.fields = std::move(received.fields),
                        .bytes = std::move(received.bytes),
                        .timer = timer,
                        .unary = wire.unary});
          job->done = [answer = std::move(answer)](
                          const absl::StatusOr<MatMulResult>& result) {
            if (!result.ok()) return answer(result.status());
            answer(GuardedValue([&] { return result->Serialize(); }));
          };
          return SubmitMatMul(std::move(job), wire);
        });
  }

  ServerBidiReactor<ByteBuffer, ByteBuffer>* StreamMatMul(
      CallbackServerContext* context) override {
    return PipelineWire(
        edge_, "InferenceService/StreamMatMul", context, PipelineOptions(),
        [this](WireRequest& wire, WireAnswer answer) -> absl::Status {
          Received<v1::StreamMatMulRequest> received;
          StageTimer timer(edge_.metrics, wire);
          RETURN_IF_ERROR(received.Parse(&wire.bytes));
          auto job = std::make_shared<MatMulJob>(
              MatMulJob{.fields = std::move(*received.fields.mutable_request()),
                        .bytes = std::move(received.bytes),
                        .timer = timer});
          wire.note->id = received.fields.id();
          job->done = [note = wire.note, answer = std::move(answer)](
                          absl::StatusOr<MatMulResult> result) {
            note->status = result.status();
            answer(GuardedValue(
                [&] { return StreamAnswer(note->id, std::move(result)); }));
          };
          const absl::Status taken = SubmitMatMul(job, wire);
          if (!taken.ok()) job->done(taken);
          return absl::OkStatus();
        });
  }

  ServerUnaryReactor* Forward(CallbackServerContext* context,
                              const ByteBuffer* request,
                              ByteBuffer* response) override {
    return ReplyWire(edge_, "InferenceService/Forward", context, request,
                     response, [this](WireRequest& wire, WireAnswer answer) {
                       return SubmitForward(wire, std::move(answer));
                     });
  }

 private:
  absl::StatusOr<ModelPtr> Find(const std::string& name) const {
    ASSIGN_OR_RETURN(const ModelName model, ParseModelName("model", name));
    return backend_.models->Find(model.id, model.version);
  }

  static ByteBuffer StreamAnswer(const std::string& id,
                                 absl::StatusOr<MatMulResult> result) {
    v1::StreamMatMulResponse response;
    response.set_id(id);
    if (!result.ok()) {
      *response.mutable_status() =
          ToRpcStatus(AboutInput("request", result.status()));
      const grpc::Slice bytes(response.SerializeAsString());
      return ByteBuffer(&bytes, 1);
    }
    *response.mutable_response() = std::move(result->fields);
    return MakeMessage(LargeField(&response), response, {&result->tensor, 1});
  }

  absl::Status SubmitMatMul(std::shared_ptr<MatMulJob> job,
                            const WireRequest& wire) const {
    const v1::MatMulRequest& fields = job->fields;
    wire.note->model = fields.model();
    ASSIGN_OR_RETURN(job->model, Find(fields.model()));
    ASSIGN_OR_RETURN(job->output_type, OutputType(fields.output_type()));
    serving::Task task;
    ASSIGN_OR_RETURN(task.priority, PriorityOf(fields.priority()));
    task.model = job->model;
    ASSIGN_OR_RETURN(job->x,
                     WireMatrix::Check("x", fields.x(), job->bytes.tensor()));
    RETURN_IF_ERROR(job->model->CheckWidth(fields.layer(), job->x->cols()));
    task.rows = std::max<size_t>(1, job->x->rows());
    RETURN_IF_ERROR(
        wire.Expect("x", job->model->OutputBytes(fields.layer(), task.rows)));
    task.multiply_adds = job->model->MultiplyAdds(
        fields.layer(), job->x->rows() * job->x->cols());
    task.brief = task.multiply_adds <= serving::kBriefProducts;
    task.deadline = wire.deadline;
    task.cancelled = wire.cancelled;
    task.run = [this, job](const serving::Turn& turn) {
      MatMulResult result;
      const absl::Status status =
          Guarded([&] { return Multiply(turn, job.get(), &result); });
      if (!status.ok()) return job->done(status);
      job->done(std::move(result));
    };
    task.drop = [job](const absl::Status& status) { job->done(status); };
    return RetryAfter(kQueueRetryDelay,
                      backend_.scheduler->Submit(std::move(task)));
  }

  absl::Status Multiply(const serving::Turn& turn, MatMulJob* job,
                        MatMulResult* result) const {
    const serving::LoadedModel& model = *job->model;
    StageTimer& timer = job->timer;
    timer.Queued(model, turn.queued);
    const WireMatrix& x = *job->x;
    const auto fetch = [&x](size_t first, size_t count, float* to) {
      x.CopyRows(first, count, to);
      return absl::OkStatus();
    };
    serving::MatMulTimes times;
    ASSIGN_OR_RETURN(
        model::ModelOutput y,
        model.MatMul(job->fields.layer(), {x.rows(), x.cols(), fetch},
                     {turn.pool, backend_.allow_non_finite}, &times));
    job->bytes = {};  // they were computed
    timer.Decoded(model, times.decode);
    timer.Start();
    v1::MatMulResponse& response = result->fields;
    result->tensor =
        Encode(std::move(y), job->output_type, response.mutable_y());
    timer.End(model, telemetry::Stage::kEncode);
    Report(timer.Times(times.phases), job->unary, response.mutable_timings());
    return absl::OkStatus();
  }

  absl::Status SubmitForward(WireRequest& wire, WireAnswer answer) const {
    Received<v1::ForwardRequest> received;
    auto job = std::make_shared<ForwardJob>(
        ForwardJob{.timer = StageTimer(edge_.metrics, wire),
                   .unary = wire.unary,
                   .answer = std::move(answer),
                   .bytes = {}});
    RETURN_IF_ERROR(received.Parse(&wire.bytes));
    job->bytes = std::move(received.bytes);
    const v1::ForwardRequest& fields = received.fields;
    wire.note->model = fields.model();
    ASSIGN_OR_RETURN(job->model, Find(fields.model()));
    ASSIGN_OR_RETURN(job->output_type, OutputType(fields.output_type()));
    serving::Step step;
    step.model = job->model;
    ASSIGN_OR_RETURN(step.output, OutputKindOf(fields.output()));
    ASSIGN_OR_RETURN(step.priority, PriorityOf(fields.priority()));
    auto inputs = ReadInputs(fields.inputs(), job->bytes.tensor(),
                             job->model->model().graph());
    if (!inputs.ok()) return AboutInput("inputs", inputs.status());
    step.input = std::move(inputs->tokens);
    if (inputs->features) {
      step.features.rows = inputs->features->rows();
      step.features.cols = inputs->features->cols();
      step.features.fetch = [job, features = *inputs->features](
                                size_t first, size_t count, float* to) {
        features.CopyRows(first, count, to);
        return absl::OkStatus();
      };
    }
    RETURN_IF_ERROR(wire.Expect(
        "inputs",
        job->model->OutputBytes(step.input.rows() + step.features.rows,
                                step.input.lengths.size(), step.output)));
    job->timer.Read();
    step.deadline = wire.deadline;
    step.cancelled = wire.cancelled;
    step.done = [job](absl::StatusOr<serving::StepResult> result) {
      job->bytes = {};  // they were computed
      if (!result.ok()) {
        return job->answer(AboutInput("inputs", result.status()));
      }
      job->answer(GuardedValue(
          [&] { return ForwardAnswer(*std::move(result), job.get()); }));
    };
    return RetryAfter(kQueueRetryDelay,
                      backend_.scheduler->Submit(std::move(step)));
  }

  static ByteBuffer ForwardAnswer(serving::StepResult result, ForwardJob* job) {
    Result<v1::ForwardResponse> answer;
    job->timer.Queued(*job->model, result.queued);
    job->timer.Decoded(*job->model, result.decode);
    job->timer.Start();
    answer.tensor = Encode(std::move(result.output), job->output_type,
                           answer.fields.mutable_output());
    job->timer.End(*job->model, telemetry::Stage::kEncode);
    Report(job->timer.Times(result.times), job->unary,
           answer.fields.mutable_timings());
    return answer.Serialize();
  }

  const Edge edge_;
  Backend& backend_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeInferenceService(const Edge& edge,
                                                    Backend* backend) {
  return std::make_unique<InferenceService>(edge, backend);
}

}  // namespace octet::rpc
