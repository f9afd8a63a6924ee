#include "server/rpc/calls/reactors.h"

#include <grpc/grpc.h>

#include <optional>
#include <utility>

#include "google/protobuf/message.h"
#include "server/model/str_cat.h"
#include "server/rpc/calls/call_gate.h"
#include "server/serving/why_stopped.h"

namespace octet::rpc {
namespace {

class ReplyReactor final : public grpc::ServerUnaryReactor {
 public:
  ReplyReactor(const Edge& edge, std::string_view method,
               grpc::CallbackServerContext* context,
               const google::protobuf::Message* request,
               const google::protobuf::Message* response, UnaryWork work)
      : scope_(edge, method, context),
        response_(response),
        work_(std::move(work)) {
    scope_.Received(*request);
    Enqueue(
        scope_, context,
        [this](const Call& call) { End(Guarded([&] { return work_(call); })); },
        [this](const absl::Status& status) { End(status); });
  }

  void OnDone() override { delete this; }

 private:
  void End(const absl::Status& status) {
    if (status.ok()) scope_.Sent(*response_);
    Finish(scope_.Finish(status));
  }

  const RpcScope scope_;
  const google::protobuf::Message* const response_;
  const UnaryWork work_;
};

constexpr char kTraceparent[] = "traceparent";
// Of names and ids in the log, which are any text that a client sends.
constexpr size_t kMaxNameBytes = 128;

std::optional<TraceContext> ParentOf(
    const grpc::CallbackServerContext& context) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find(kTraceparent);
  if (found == metadata.end() || metadata.count(kTraceparent) > 1) {
    return std::nullopt;
  }
  return ParseTraceparent({found->second.data(), found->second.size()});
}

absl::Status Stopping() {
  return absl::UnavailableError("the server is stopping: try another one");
}

}  // namespace

RpcScope::RpcScope(const Edge& edge, std::string_view method,
                   grpc::CallbackServerContext* context, CallShape shape)
    : edge_(edge),
      method_(method),
      context_(context),
      shape_(shape),
      arrival_(absl::Now()),
      client_(edge.gate->security.ClientOf(*context)),
      parent_(ParentOf(*context)),
      span_(StartSpan(parent_)) {
  edge_.metrics->RpcStarted(method_);
  admission_ = Admit();
}

RpcScope::~RpcScope() {
  CallGate& gate = *edge_.gate;
  LetGo();
  if (entered_) gate.limits.Leave(client_);
  if (counted_) --gate.in_flight;
}

void RpcScope::LetGo() const {
  if (const size_t held = held_.exchange(0); held > 0) {
    edge_.gate->limits.Drop(client_, held);
  }
}

absl::Status RpcScope::Admit() {
  if (shape_ == CallShape::kProbe) return absl::OkStatus();
  CallGate& gate = *edge_.gate;
  // Counted first: whoever drains sees a call, or the call sees the drain.
  counted_ = shape_ != CallShape::kConversation;
  if (counted_) ++gate.in_flight;
  if (gate.phase == Phase::kStopping) {
    // What is refused does not hold up a drain under load.
    if (std::exchange(counted_, false)) --gate.in_flight;
    return Stopping();
  }
  if (gate.phase == Phase::kStarting) {
    return absl::UnavailableError("the server is starting");
  }
  absl::Status entered = gate.limits.Enter(client_);
  entered_ = entered.ok();
  return entered;
}

void RpcScope::Received(const google::protobuf::Message& message) const {
  Received(message.ByteSizeLong());
}

void RpcScope::Received(size_t bytes) const {
  edge_.metrics->RpcMessageBytes(method_, telemetry::kReceived, bytes);
  received_ += bytes;
  if (shape_ != CallShape::kUnary || !admission_.ok()) return;
  admission_ = edge_.gate->limits.Hold(client_, bytes);
  if (admission_.ok()) held_ += bytes;
}

void RpcScope::Sent(const google::protobuf::Message& message) const {
  Sent(message.ByteSizeLong());
}

void RpcScope::Sent(size_t bytes) const {
  edge_.metrics->RpcMessageBytes(method_, telemetry::kSent, bytes);
  sent_ += bytes;
}

absl::Status RpcScope::Hold(size_t bytes) const {
  CallGate& gate = *edge_.gate;
  if (!admission_.ok()) return admission_;
  const bool conversation = shape_ == CallShape::kConversation;
  if (conversation) ++gate.in_flight;
  absl::Status held = conversation && gate.phase == Phase::kStopping
                          ? Stopping()
                          : gate.limits.Hold(client_, bytes);
  if (held.ok()) {
    held_ += bytes;
  } else if (conversation) {
    --gate.in_flight;
  }
  return held;
}

absl::Status RpcScope::HoldAnswer(std::string_view field, uint64_t bytes,
                                  size_t own) const {
  CallGate& gate = *edge_.gate;
  if (bytes > gate.max_answer_bytes) {
    return FieldViolation(
        field, model::StrCat("the answer would take ", bytes,
                             " bytes; one has at most ", gate.max_answer_bytes,
                             " (--max-answer-mib): ask for less at once"));
  }
  absl::Status held = gate.limits.Hold(client_, bytes, own);
  if (held.ok()) held_ += bytes;
  return held;
}

void RpcScope::Drop(size_t bytes) const {
  CallGate& gate = *edge_.gate;
  held_ -= bytes;
  gate.limits.Drop(client_, bytes);
  if (shape_ == CallShape::kConversation) --gate.in_flight;
}

void RpcScope::About(std::string_view model) const {
  absl::MutexLock lock(&mutex_);
  model_ = model.substr(0, kMaxNameBytes);
}

void RpcScope::Queued(absl::Duration queued) const {
  queued_ns_ += absl::ToInt64Nanoseconds(queued);
}

// The client of a call whose deadline passed is gone, too, and what works for
// it may learn that first.
absl::Status RpcScope::WhyEnded(const absl::Status& status) const {
  if (!absl::IsCancelled(status) || !context_->IsCancelled()) return status;
  if (!serving::DeadlineEnded(absl::FromChrono(context_->deadline()),
                              /*gone=*/true)) {
    return status;
  }
  return absl::DeadlineExceededError("the deadline passed before the answer");
}

grpc::Status RpcScope::Finish(const absl::Status& result) const {
  const absl::Status status = WhyEnded(result);
  const absl::Duration total = absl::Now() - arrival_;
  edge_.metrics->RpcFinished(method_, CodeName(status.code()),
                             absl::ToDoubleSeconds(total));
  if (shape_ == CallShape::kUnary && !status.ok()) LetGo();
  // A caller that traces, or has something to report, learns the id.
  if (parent_ || !status.ok()) {
    context_->AddTrailingMetadata(kTraceparent, span_.Header());
  }
  const bool stream =
      shape_ == CallShape::kStream || shape_ == CallShape::kConversation;
  if (edge_.gate->log.Wants(status, total, stream)) {
    Log(status, total);
  }
  return ToGrpcStatus(status);
}

void RpcScope::Answered(const RequestNote& note, absl::Time arrival,
                        size_t received, size_t sent) const {
  RequestLog& log = edge_.gate->log;
  const absl::Duration total = absl::Now() - arrival;
  if (!log.Wants(note.status, total, /*stream=*/false)) return;
  // A client that is gone has one line, the stream's.
  if (context_->IsCancelled()) return;
  RequestRecord record = NewRecord();
  record.model = note.model.substr(0, kMaxNameBytes);
  record.request = note.id.substr(0, kMaxNameBytes);
  record.received_bytes = received;
  record.sent_bytes = sent;
  record.total = total;
  record.queued = note.queued;
  log.Write(record, note.status);
}

RequestRecord RpcScope::NewRecord() const {
  RequestRecord record;
  record.span = span_;
  record.method = method_;
  record.client = client_;
  record.peer = context_->peer();
  return record;
}

void RpcScope::Log(const absl::Status& status, absl::Duration total) const {
  RequestRecord record = NewRecord();
  {
    absl::MutexLock lock(&mutex_);
    record.model = model_;
  }
  record.received_bytes = received_;
  record.sent_bytes = sent_;
  record.total = total;
  record.queued = absl::Nanoseconds(queued_ns_.load());
  edge_.gate->log.Write(record, status);
}

void Enqueue(const RpcScope& scope, grpc::CallbackServerContext* context,
             std::function<void(const Call&)> work,
             const std::function<void(const absl::Status&)>& refuse) {
  if (!scope.admission().ok()) return refuse(scope.admission());
  Call call{.scope = &scope,
            .arrival = scope.arrival(),
            .deadline = absl::InfiniteFuture(),
            .queued = absl::ZeroDuration(),
            .cancelled = [] { return false; }};
  if (context != nullptr) {
    call.deadline = absl::FromChrono(context->deadline());
    call.cancelled = [context] { return context->IsCancelled(); };
  }
  serving::Work item;
  item.deadline = call.deadline;
  item.cancelled = call.cancelled;
  item.drop = refuse;
  item.run = [call = std::move(call),
              work = std::move(work)](absl::Duration queued) mutable {
    call.queued = queued;
    call.scope->Queued(queued);
    work(call);
  };
  const absl::Status admitted = scope.edge().queue->Submit(std::move(item));
  if (!admitted.ok()) refuse(RetryAfter(kQueueRetryDelay, admitted));
}

absl::Status NotTaken(absl::Duration patience) {
  return absl::AbortedError(model::StrCat(
      "the client did not take the next message within ",
      absl::FormatDuration(patience), ": read it while it comes"));
}

void EndAtOnce(const absl::Status& status,
               grpc::CallbackServerContext* context) {
  // A Finish would wait behind what is not read.
  const grpc::Status ended = ToGrpcStatus(status);
  grpc_call_cancel_with_status(
      context->c_call(), static_cast<grpc_status_code>(ended.error_code()),
      ended.error_message().c_str(), nullptr);
}

grpc::ServerUnaryReactor* Reply(const Edge& edge, std::string_view method,
                                grpc::CallbackServerContext* context,
                                const google::protobuf::Message* request,
                                const google::protobuf::Message* response,
                                UnaryWork work) {
  return new ReplyReactor(edge, method, context, request, response,
                          std::move(work));
}

}  // namespace octet::rpc
