// The shapes an RPC can have, each written once.
//
//   Reply      unary: the work runs on a worker, its status is the answer's
//   Consume    client stream: a handler sees one message after the other
//   Outbox     server stream: whoever has something to say puts it in
//
// gRPC's own threads never touch a disk and compute nothing that takes time:
// everything a service does for a message runs on the WorkQueue of its Edge, or
// where the Scheduler puts it (wire_reactors.h). Every RPC is counted under the
// method label "InferenceService/Forward" and a code label such as "OK" or
// "INVALID_ARGUMENT".

#ifndef OCTET_SERVER_RPC_CALLS_REACTORS_H_
#define OCTET_SERVER_RPC_CALLS_REACTORS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "server/rpc/calls/request_log.h"
#include "server/rpc/calls/status.h"
#include "server/rpc/calls/traceparent.h"
#include "server/serving/work_queue.h"
#include "server/telemetry/metrics.h"

namespace google::protobuf {
class Message;
}

namespace octet::rpc {

struct CallGate;

// When to try again what found a queue full: long enough for one of ordinary
// requests to be worked off.
inline constexpr absl::Duration kQueueRetryDelay = absl::Milliseconds(100);

// How long a worker waits for a client that takes nothing (Outbox::Send).
inline constexpr absl::Duration kSendPatience = absl::Seconds(60);

// Where a service's calls run and are counted.
struct Edge {
  telemetry::Metrics* metrics;
  serving::WorkQueue* queue;
  CallGate* gate;
  absl::Duration patience = kSendPatience;
};

class RpcScope;

// What is to be said of one request when it ends badly.
struct RequestNote {
  std::string model;           // that it is about
  std::string id;              // on a stream
  absl::Duration queued = {};  // waited for a worker
  absl::Status status;         // of a request that fails and its stream goes on
};

// What work may want to know about the call it is done for.
struct Call {
  const RpcScope* scope;
  absl::Time arrival;
  absl::Time deadline;
  absl::Duration queued;  // waited for a worker
  std::function<bool()> cancelled;
};

// What a drain waits for, and what counts as slow.
enum class CallShape : uint8_t {
  kUnary,
  kProbe,         // one that has an answer at any time: nothing limits it
  kStream,        // one thing that takes many messages, such as an upload
  kConversation,  // each message is a request of its own
};

// One RPC from its arrival to its status: counts it, limits its client, gives
// it a span, and logs it when it ends badly. Lives until the status is sent.
class RpcScope {
 public:
  RpcScope(const Edge& edge, std::string_view method,
           grpc::CallbackServerContext* context,
           CallShape shape = CallShape::kUnary);
  ~RpcScope();
  RpcScope(const RpcScope&) = delete;
  RpcScope& operator=(const RpcScope&) = delete;

  const Edge& edge() const { return edge_; }
  grpc::CallbackServerContext& context() const { return *context_; }
  absl::Time arrival() const { return arrival_; }

  // Counts a message. That of a unary call is held for its client.
  void Received(const google::protobuf::Message& message) const;
  void Received(size_t bytes) const;
  void Sent(const grpc::ByteBuffer& message) const { Sent(message.Length()); }
  void Sent(const google::protobuf::Message& message) const;
  void Sent(size_t bytes) const;

  // Why this call is not to go on, known once a unary call's message was
  // counted: the server starts or stops, its client has too much in flight.
  const absl::Status& admission() const { return admission_; }

  // For each message of a stream: an error ends the stream, OK wants a Drop of
  // as many bytes when the message was dealt with (and answered). From any
  // thread.
  absl::Status Hold(size_t bytes) const;
  void Drop(size_t bytes) const;

  // For each request, before its answer is computed: that it may take so many
  // bytes. They are held as those of the request, of which there are `own`, and
  // of a stream dropped with them. INVALID_ARGUMENT about `field`, or
  // RESOURCE_EXHAUSTED; then nothing is held.
  absl::Status HoldAnswer(std::string_view field, uint64_t bytes,
                          size_t own) const;

  // For the log: the model it is about, and how long it waited for a worker.
  void About(std::string_view model) const;
  void Queued(absl::Duration queued) const;

  // A request of a conversation was answered: it has a line like a call's.
  void Answered(const RequestNote& note, absl::Time arrival, size_t received,
                size_t sent) const;

  // Once, last.
  grpc::Status Finish(const absl::Status& result) const;

 private:
  absl::Status Admit();
  // DEADLINE_EXCEEDED for a CANCELLED that the deadline brought about.
  absl::Status WhyEnded(const absl::Status& status) const;
  // Of what is held for the client. An error does so before its client learns
  // of it, who may come back at once.
  void LetGo() const;
  void Log(const absl::Status& status, absl::Duration total) const;
  // With what all lines of the call have.
  RequestRecord NewRecord() const;

  const Edge edge_;
  const std::string method_;
  grpc::CallbackServerContext* const context_;
  const CallShape shape_;
  const absl::Time arrival_;
  const std::string client_;
  const std::optional<TraceContext> parent_;
  const TraceContext span_;
  bool counted_ = false;  // in what a drain waits for
  bool entered_ = false;  // among its client's calls
  mutable absl::Status admission_;
  mutable std::atomic<size_t> held_ = 0;
  mutable std::atomic<size_t> received_ = 0;
  mutable std::atomic<size_t> sent_ = 0;
  mutable std::atomic<int64_t> queued_ns_ = 0;
  mutable absl::Mutex mutex_;
  mutable std::string model_ ABSL_GUARDED_BY(mutex_);
};

// Runs `work` on a worker; when it cannot, `refuse` gets the reason: the queue
// is full, the server starts or stops. With `context`, work whose client has
// gone or whose deadline has passed is refused as well.
void Enqueue(const RpcScope& scope, grpc::CallbackServerContext* context,
             std::function<void(const Call&)> work,
             const std::function<void(const absl::Status&)>& refuse);

// What a client is told that did not take the next message in time.
absl::Status NotTaken(absl::Duration patience);

// Tells the client so, past what it does not read; what is being written fails.
// The call is not finished yet.
void EndAtOnce(const absl::Status& status,
               grpc::CallbackServerContext* context);

using UnaryWork = std::function<absl::Status(const Call&)>;

grpc::ServerUnaryReactor* Reply(const Edge& edge, std::string_view method,
                                grpc::CallbackServerContext* context,
                                const google::protobuf::Message* request,
                                const google::protobuf::Message* response,
                                UnaryWork work);

// The life of one client stream. Calls come one at a time, on workers; it is
// destroyed before the client learns the status, and then holds nothing.
template <typename Request>
class StreamHandler {
 public:
  virtual ~StreamHandler() = default;
  // An error ends the stream.
  virtual absl::Status OnMessage(const Request& message) = 0;
  // No more messages: the client is done, or gone.
  virtual absl::Status OnEnd() = 0;
};

template <typename Request>
class ConsumeReactor final : public grpc::ServerReadReactor<Request> {
 public:
  ConsumeReactor(const Edge& edge, std::string_view method,
                 grpc::CallbackServerContext* context,
                 const google::protobuf::Message* response,
                 std::unique_ptr<StreamHandler<Request>> handler)
      : scope_(edge, method, context, CallShape::kStream),
        response_(response),
        handler_(std::move(handler)) {
    if (scope_.admission().ok()) {
      this->StartRead(&message_);
    } else {
      End(scope_.admission());
    }
  }

  void OnReadDone(bool ok) override {
    if (ok) {
      const size_t bytes = message_.ByteSizeLong();
      if (absl::Status held = scope_.Hold(bytes); !held.ok()) return End(held);
      held_ = bytes;
    }
    Enqueue(
        scope_, /*context=*/nullptr, [this, ok](const Call&) { Step(ok); },
        [this](const absl::Status& status) { End(status); });
  }
  void OnDone() override { delete this; }

 private:
  void Step(bool more) {
    if (more) scope_.Received(message_);
    const absl::Status status = Guarded([&] {
      return more ? handler_->OnMessage(message_) : handler_->OnEnd();
    });
    scope_.Drop(std::exchange(held_, 0));
    if (more && status.ok()) return this->StartRead(&message_);
    End(status);
  }

  void End(const absl::Status& status) {
    handler_.reset();
    if (status.ok()) scope_.Sent(*response_);
    this->Finish(scope_.Finish(status));
  }

  const RpcScope scope_;
  const google::protobuf::Message* const response_;
  std::unique_ptr<StreamHandler<Request>> handler_;
  Request message_;
  size_t held_ = 0;  // bytes of it
};

template <typename Request>
grpc::ServerReadReactor<Request>* Consume(
    const Edge& edge, std::string_view method,
    grpc::CallbackServerContext* context,
    const google::protobuf::Message* response,
    std::unique_ptr<StreamHandler<Request>> handler) {
  return new ConsumeReactor<Request>(edge, method, context, response,
                                     std::move(handler));
}

// Lives until it was closed and its last message is written. Whoever holds it
// closes it once and forgets it.
template <typename Response>
class Outbox final : public grpc::ServerWriteReactor<Response> {
 public:
  struct Hooks {
    // The client is gone; an owner that would not notice closes the box here.
    std::function<void()> on_gone;
    // Nothing else will happen; the box is destroyed next.
    std::function<void()> on_done;
  };

  Outbox(const Edge& edge, std::string_view method,
         grpc::CallbackServerContext* context)
      : scope_(edge, method, context, CallShape::kStream) {}

  // Before anything is offered or the reactor is returned to gRPC.
  void SetHooks(Hooks hooks) { hooks_ = std::move(hooks); }

  const RpcScope& scope() const { return scope_; }

  // Never blocks: a message that still waits is replaced, since only the
  // newest state matters.
  void Offer(Response message) { Put(std::move(message), /*first=*/false); }

  // As Offer, unless something was offered before.
  void OfferFirst(Response message) { Put(std::move(message), /*first=*/true); }

  // Blocks until earlier messages are written; false once the client is gone,
  // or took none of them for the edge's patience: workers are few. Its call
  // ends with ABORTED then, whatever Close says.
  // NOLINTNEXTLINE(performance-unnecessary-value-param): slices have no move.
  bool Send(Response message) {
    {
      absl::MutexLock lock(&mutex_);
      if (mutex_.AwaitWithTimeout(absl::Condition(this, &Outbox::IdleOrGone),
                                  scope_.edge().patience)) {
        if (gone_) return false;
        waiting_ = std::move(message);
      } else {
        gone_ = true;
        aborted_ = NotTaken(scope_.edge().patience);
      }
    }
    if (!aborted_.ok()) {
      EndAtOnce(aborted_, &scope_.context());
      return false;
    }
    Advance();
    return true;
  }

  void Close(const absl::Status& status) {
    {
      absl::MutexLock lock(&mutex_);
      if (end_) return;
      end_ = aborted_.ok() ? status : aborted_;
    }
    Advance();
  }

  void OnWriteDone(bool ok) override {
    {
      absl::MutexLock lock(&mutex_);
      writing_ = false;
      if (!ok) gone_ = true;
    }
    Advance();
  }
  void OnCancel() override {
    {
      absl::MutexLock lock(&mutex_);
      gone_ = true;
    }
    if (hooks_.on_gone) hooks_.on_gone();
  }
  void OnDone() override {
    if (hooks_.on_done) hooks_.on_done();
    delete this;
  }

 private:
  bool IdleOrGone() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return gone_ || (!writing_ && !waiting_);
  }

  void Put(Response message, bool first) {
    {
      absl::MutexLock lock(&mutex_);
      if (end_ || (first && offered_)) return;
      offered_ = true;
      waiting_ = std::move(message);
    }
    Advance();
  }

  // Starts what is next. gRPC is called without the lock, as it may call back.
  void Advance() {
    std::optional<absl::Status> end;
    {
      absl::MutexLock lock(&mutex_);
      if (writing_ || finished_) return;
      if (waiting_ && !gone_) {
        message_ = *std::move(waiting_);
        waiting_.reset();
        writing_ = true;
      } else if (end_) {
        finished_ = true;
        end = end_;
      } else {
        return;
      }
    }
    if (end) return this->Finish(scope_.Finish(*end));
    scope_.Sent(message_);
    this->StartWrite(&message_);
  }

  const RpcScope scope_;
  Hooks hooks_;
  Response message_;  // being written
  absl::Mutex mutex_;
  std::optional<Response> waiting_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  bool offered_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool gone_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status aborted_;  // written and read by who sends and closes
};

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_CALLS_REACTORS_H_
