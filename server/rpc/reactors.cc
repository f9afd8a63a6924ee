#include "server/rpc/reactors.h"

#include "google/protobuf/message.h"
#include "spdlog/spdlog.h"

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

}  // namespace

RpcScope::RpcScope(const Edge& edge, std::string_view method,
                   grpc::CallbackServerContext* context)
    : edge_(edge), method_(method), context_(context), arrival_(absl::Now()) {
  edge_.metrics->RpcStarted(method_);
}

void RpcScope::Received(const google::protobuf::Message& message) const {
  Received(message.ByteSizeLong());
}

void RpcScope::Received(size_t bytes) const {
  edge_.metrics->RpcMessageBytes(method_, telemetry::kReceived, bytes);
}

void RpcScope::Sent(const google::protobuf::Message& message) const {
  Sent(message.ByteSizeLong());
}

void RpcScope::Sent(size_t bytes) const {
  edge_.metrics->RpcMessageBytes(method_, telemetry::kSent, bytes);
}

grpc::Status RpcScope::Finish(const absl::Status& status) const {
  const double seconds = absl::ToDoubleSeconds(absl::Now() - arrival_);
  edge_.metrics->RpcFinished(method_, CodeName(status.code()), seconds);
  if (absl::IsInternal(status) || absl::IsUnknown(status)) {
    spdlog::error("{}: {}", method_, status.ToString());
  } else if (!status.ok()) {
    spdlog::debug("{}: {}", method_, status.ToString());
  }
  return ToGrpcStatus(status);
}

void Enqueue(const RpcScope& scope, grpc::CallbackServerContext* context,
             std::function<void(const Call&)> work,
             const std::function<void(const absl::Status&)>& refuse) {
  if (!scope.edge().ready->load(std::memory_order_relaxed)) {
    return refuse(absl::UnavailableError("the server is starting"));
  }
  Call call{.arrival = scope.arrival(),
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
    work(call);
  };
  const absl::Status admitted = scope.edge().queue->Submit(std::move(item));
  if (!admitted.ok()) refuse(RetryAfter(kQueueRetryDelay, admitted));
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
