#include "server/rpc/oip/infer.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "kernels/status_macros.h"
#include "server/model/hidden_output.h"
#include "server/model/str_cat.h"
#include "server/rpc/calls/reactors.h"
#include "server/rpc/calls/status.h"
#include "server/rpc/oip/inputs.h"
#include "server/rpc/oip/model.h"
#include "server/rpc/oip/padding.h"
#include "server/serving/scheduler.h"
#include "server/telemetry/metrics.h"

namespace octet::rpc::oip {
namespace {

using model::ModelOutput;
using model::StrCat;

absl::StatusOr<serving::Priority> PriorityOf(const Parameters& parameters) {
  ASSIGN_OR_RETURN(const auto level, NumberOf(parameters, "priority"));
  switch (level.value_or(0)) {
    case 0:
    case 2:
      return serving::Priority::kNormal;
    case 1:
      return serving::Priority::kHigh;
    case 3:
      return serving::Priority::kLow;
    default:
      return FieldViolation(
          "parameters.priority",
          StrCat("is ", *level,
                 "; priorities are 1, the highest, to 3, and 0 "
                 "for the default, 2"));
  }
}

// In microseconds from the arrival; 0 is none.
absl::StatusOr<absl::Time> DeadlineOf(const Parameters& parameters,
                                      const Caller& caller) {
  ASSIGN_OR_RETURN(const auto timeout, NumberOf(parameters, "timeout"));
  if (timeout.value_or(0) == 0) return caller.deadline;
  const auto most =
      static_cast<uint64_t>(absl::ToInt64Microseconds(absl::Hours(24 * 365)));
  return std::min(caller.deadline,
                  caller.arrival + absl::Microseconds(static_cast<int64_t>(
                                       std::min(*timeout, most))));
}

// The model speaks of its features; the client sent x.
absl::Status AboutX(const absl::Status& status) {
  constexpr std::string_view kFeatures = "features";
  const std::string_view message(status.message().data(),
                                 status.message().size());
  if (!absl::IsInvalidArgument(status) || !message.starts_with(kFeatures)) {
    return status;
  }
  return absl::InvalidArgumentError(
      StrCat(kX, message.substr(kFeatures.size())));
}

// Lives from the request's arrival until `done` is called.
class Inference : public std::enable_shared_from_this<Inference> {
 public:
  Inference(const InferContext& context, Caller caller,
            Received<inference::ModelInferRequest> request,
            std::function<void(absl::StatusOr<InferAnswer>)> done)
      : context_(context),
        caller_(std::move(caller)),
        received_(std::move(request)),
        request_(received_.fields),
        done_(std::move(done)) {}

  void Start() {
    absl::Status status = Guarded([&]() -> absl::Status {
      RETURN_IF_ERROR(Read());
      times_.compute_input = absl::Now() - caller_.arrival - caller_.queued;
      return RetryAfter(kQueueRetryDelay, Submit());
    });
    if (!status.ok()) End(status);
  }

 private:
  absl::Status Read() {
    ASSIGN_OR_RETURN(served_,
                     Resolve(*context_.backend->models, request_.model_name(),
                             request_.model_version(), Purpose::kUse));
    ASSIGN_OR_RETURN(priority_, PriorityOf(request_.parameters()));
    ASSIGN_OR_RETURN(deadline_, DeadlineOf(request_.parameters(), caller_));
    const std::vector<TensorSpec> specs = InputsOf(*served_);
    if (specs.empty()) {
      return absl::FailedPreconditionError(
          StrCat("model '", served_->name(),
                 "' is a set of layers; name one of them: '", served_->name(),
                 ".LAYER'"));
    }
    ASSIGN_OR_RETURN(InputTensors inputs,
                     ReadInputs(received_, specs, *context_.memory));
    ASSIGN_OR_RETURN(
        places_, ReadOutputs(request_, OutputsOf(*served_), *context_.memory));
    const bool tokens = served_->layer.empty() &&
                        served_->graph().input == model::InputKind::kTokens;
    return tokens ? ReadTokens(inputs) : ReadRows(std::move(inputs[0]));
  }

  absl::Status ReadTokens(const InputTensors& inputs) {
    ASSIGN_OR_RETURN(tokens_, DecodeTokens(inputs, served_->graph()));
    batch_ = tokens_.sequences;
    received_.bytes = ReceivedBytes();  // all of them were copied
    return CheckRooms();
  }

  // Its elements are copied where they are computed.
  absl::Status ReadRows(InputTensor x) {
    width_ = static_cast<size_t>(InputsOf(*served_)[0].shape[1]);
    if (x.shape.size() != 2 || x.shape[0] < 1 || x.shape[0] > kMaxBatch ||
        x.shape[1] != static_cast<int64_t>(width_)) {
      return FieldViolation(
          StrCat(kX, ".shape"),
          StrCat("is ", model::ShapeString(x.shape), "; must be [rows, ",
                 width_, "] with 1 to ", kMaxBatch, " rows"));
    }
    batch_ = static_cast<size_t>(x.shape[0]);
    x_ = std::move(x);
    return CheckRooms();
  }

  // What pads a batch counts, too.
  absl::Status CheckRooms() const {
    uint64_t all = 0;
    for (const TensorSpec& spec : OutputsOf(*served_)) {
      const auto place =
          std::find_if(places_.begin(), places_.end(),
                       [&](const auto& p) { return p.name == spec.name; });
      if (place == places_.end()) continue;
      const uint64_t rows =
          batch_ * (spec.name == kHiddenState ? tokens_.width : 1);
      const auto width = static_cast<uint64_t>(spec.shape.back());
      const uint64_t bytes = rows * width * sizeof(float);
      RETURN_IF_ERROR(CheckRoom(*place, bytes));
      all += bytes;
    }
    return caller_.expect("outputs", all);
  }

  absl::Status Submit() {
    return served_->layer.empty() ? SubmitStep() : SubmitTask();
  }

  absl::Status SubmitStep() {
    serving::Step step;
    step.model = served_->model;
    if (served_->graph().input == model::InputKind::kTokens) {
      lengths_ = tokens_.input.lengths;
      step.input = std::move(tokens_.input);
    } else {
      step.features.rows = batch_;
      step.features.cols = width_;
      step.features.fetch = [self = shared_from_this()](
                                size_t first, size_t count, float* to) {
        return self->CopyRows(first, count, to);
      };
    }
    step.output = Wants(kHiddenState) ? model::OutputKind::kHidden
                                      : model::OutputKind::kOutput;
    step.priority = priority_;
    step.deadline = deadline_;
    step.cancelled = caller_.cancelled;
    step.done = [self = shared_from_this()](
                    absl::StatusOr<serving::StepResult> result) {
      self->Computed();
      if (!result.ok()) return self->End(AboutX(result.status()));
      self->times_.queue = self->caller_.queued + result->queued;
      self->times_.compute_input += result->decode;
      self->times_.compute_infer = result->compute;
      self->phases_ = result->times;
      self->Answer(std::move(result->output));
    };
    return context_.backend->scheduler->Submit(std::move(step));
  }

  absl::Status SubmitTask() {
    serving::Task task;
    task.model = served_->model;
    task.rows = batch_;
    task.multiply_adds = batch_ * width_ *
                         static_cast<uint64_t>(OutputsOf(*served_)[0].shape[1]);
    task.brief = task.multiply_adds <= serving::kBriefProducts;
    task.priority = priority_;
    task.deadline = deadline_;
    task.cancelled = caller_.cancelled;
    task.run = [self = shared_from_this()](const serving::Turn& turn) {
      self->Multiply(turn);
    };
    task.drop = [self = shared_from_this()](const absl::Status& status) {
      self->End(status);
    };
    return context_.backend->scheduler->Submit(std::move(task));
  }

  void Multiply(const serving::Turn& turn) {
    times_.queue = caller_.queued + turn.queued;
    absl::StatusOr<ModelOutput> y;
    const absl::Status status = Guarded([&]() -> absl::Status {
      serving::MatMulTimes took;
      y = served_->model->MatMul(
          served_->layer,
          {batch_, width_,
           [this](size_t first, size_t count, float* to) {
             return CopyRows(first, count, to);
           }},
          {turn.pool, context_.backend->allow_non_finite}, &took);
      Computed();
      times_.compute_input += took.decode;
      times_.compute_infer = took.compute;
      phases_ = took.phases;
      return y.status();
    });
    if (!status.ok()) return End(status);
    Answer(*std::move(y));
  }

  // Rows of x.
  absl::Status CopyRows(size_t first, size_t count, float* to) const {
    return x_.CopyFloatsTo(to, first * width_, count * width_);
  }

  // What came is not needed any more.
  void Computed() { received_.bytes = ReceivedBytes(); }

  bool Wants(std::string_view output) const {
    return std::any_of(places_.begin(), places_.end(),
                       [&](const auto& place) { return place.name == output; });
  }

  void Answer(ModelOutput output) {
    const absl::Time start = absl::Now();
    InferAnswer answer;
    const absl::Status status =
        Guarded([&] { return Encode(output, &answer); });
    times_.compute_output = absl::Now() - start;
    if (!status.ok()) return End(status);
    End(std::move(answer));
  }

  // Beside hidden states, the embedding is made of them. Each output gives up
  // its values to the answer.
  absl::Status Encode(ModelOutput& output, InferAnswer* answer) const {
    answer->fields.set_model_name(request_.model_name());
    answer->fields.set_model_version(served_->version());
    answer->fields.set_id(request_.id());
    ModelOutput pooled;
    const bool both = Wants(kHiddenState) && Wants(kEmbedding);
    if (both) {
      ASSIGN_OR_RETURN(
          pooled, model::OutputOfHidden(served_->graph(), output, lengths_));
    }
    for (const OutputPlace& place : places_) {
      RETURN_IF_ERROR(place.name == kHiddenState
                          ? AddHidden(place, output, answer)
                          : AddRows(place, both ? pooled : output, answer));
    }
    return absl::OkStatus();
  }

  absl::Status AddHidden(const OutputPlace& place, ModelOutput& hidden,
                         InferAnswer* answer) const {
    const auto cols = static_cast<int64_t>(hidden.cols);
    return AddOutput(place,
                     {static_cast<int64_t>(tokens_.sequences),
                      static_cast<int64_t>(tokens_.width), cols},
                     PadRows(std::move(hidden), lengths_, tokens_.width),
                     answer);
  }

  static absl::Status AddRows(const OutputPlace& place, ModelOutput& rows,
                              InferAnswer* answer) {
    return AddOutput(
        place,
        {static_cast<int64_t>(rows.rows), static_cast<int64_t>(rows.cols)},
        std::move(rows.values), answer);
  }

  void End(absl::StatusOr<InferAnswer> answer) {
    times_.arrival = caller_.arrival;
    times_.total = absl::Now() - caller_.arrival;
    if (served_) {
      if (answer.ok()) {
        answer->times = {times_.queue, phases_, times_.total};
        context_.statistics->Succeeded(*served_, batch_, times_);
        Export();
      } else {
        context_.statistics->Failed(*served_, times_.total);
      }
    }
    std::exchange(done_, nullptr)(std::move(answer));
  }

  // The stages of compute are exported where it is done.
  void Export() const {
    telemetry::Metrics& metrics = *context_.backend->metrics;
    const auto add = [&](telemetry::Stage stage, absl::Duration time) {
      metrics.StageDuration(served_->model->id(), stage,
                            absl::ToDoubleSeconds(time));
    };
    add(telemetry::Stage::kDecode, times_.compute_input);
    add(telemetry::Stage::kQueue, times_.queue);
    add(telemetry::Stage::kEncode, times_.compute_output);
  }

  const InferContext context_;
  const Caller caller_;
  Received<inference::ModelInferRequest> received_;
  const inference::ModelInferRequest& request_;  // its fields
  std::function<void(absl::StatusOr<InferAnswer>)> done_;

  std::optional<Served> served_;  // once it was found
  serving::Priority priority_ = serving::Priority::kNormal;
  absl::Time deadline_;
  std::vector<OutputPlace> places_;
  PaddedBatch tokens_;            // its input is given to the scheduler
  std::vector<int32_t> lengths_;  // and its lengths are kept
  InputTensor x_;                 // or what comes as rows
  size_t width_ = 0;              // of x
  size_t batch_ = 0;
  InferTimes times_;
  kernels::PhaseTimes phases_;  // of compute_infer
};

}  // namespace

void Infer(const InferContext& context, Caller caller,
           Received<inference::ModelInferRequest> request,
           std::function<void(absl::StatusOr<InferAnswer>)> done) {
  std::make_shared<Inference>(context, std::move(caller), std::move(request),
                              std::move(done))
      ->Start();
}

bool WantsFinalMark(const inference::ModelInferRequest& request) {
  const auto asked =
      request.parameters().find("triton_enable_empty_final_response");
  return asked != request.parameters().end() && asked->second.bool_param();
}

void MarkFinal(inference::ModelInferResponse& response) {
  (*response.mutable_parameters())["triton_final_response"].set_bool_param(
      true);
}

}  // namespace octet::rpc::oip
