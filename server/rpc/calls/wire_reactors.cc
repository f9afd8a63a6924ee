#include "server/rpc/calls/wire_reactors.h"

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "kernels/status_macros.h"
#include "server/serving/why_stopped.h"
#include "server/serving/work_queue.h"

namespace octet::rpc {
namespace {

using grpc::ByteBuffer;
using grpc::CallbackServerContext;

// Messages of more bytes are read on a worker, since protobuf takes
// milliseconds for a million numbers (token ids, typed contents), and calls
// that are answered at once must not wait behind that. Waking one takes a
// hundredth of the time that so many bytes take to come.
constexpr size_t kLongToRead = size_t{1} << 20;

// Hands a request to the handler, unless its call is not to go on.
absl::Status Handle(const RpcScope& scope, const WireHandler& handler,
                    bool unary, ByteBuffer* bytes, size_t* held,
                    RequestNote* note, WireAnswer answer) {
  scope.Received(bytes->Length());
  if (!scope.admission().ok()) return scope.admission();
  CallbackServerContext* context = &scope.context();
  WireRequest request;
  request.scope = &scope;
  request.bytes.Swap(bytes);
  request.arrival = absl::Now();
  request.deadline = absl::FromChrono(context->deadline());
  request.cancelled = [context] { return context->IsCancelled(); };
  if (unary) request.unary = context;
  request.held = held;
  request.note = note;
  if (request.bytes.Length() <= kLongToRead) {
    return Guarded([&] { return handler(request, std::move(answer)); });
  }
  serving::Work work;
  work.deadline = request.deadline;
  work.cancelled = request.cancelled;
  work.drop = [answer,
               metrics = scope.edge().metrics](const absl::Status& why) {
    serving::CountDropped(why, "queue", metrics);
    answer(why);
  };
  work.run = [handler, answer,
              request = std::move(request)](absl::Duration queued) mutable {
    request.queued = queued;
    const absl::Status taken =
        Guarded([&] { return handler(request, answer); });
    if (!taken.ok()) answer(taken);
  };
  return RetryAfter(kQueueRetryDelay,
                    scope.edge().queue->Submit(std::move(work)));
}

class WireReplyReactor final : public grpc::ServerUnaryReactor {
 public:
  WireReplyReactor(const Edge& edge, std::string_view method,
                   CallbackServerContext* context, ByteBuffer* request,
                   ByteBuffer* response, const WireHandler& handler)
      : scope_(edge, method, context),
        response_(response),
        held_(request->Length()) {
    const absl::Status taken = Handle(
        scope_, handler, /*unary=*/true, request, &held_, &note_,
        [this](absl::StatusOr<ByteBuffer> answer) { End(std::move(answer)); });
    if (!taken.ok()) End(taken);
  }

  void OnDone() override { delete this; }

 private:
  void End(absl::StatusOr<ByteBuffer> answer) {
    scope_.About(note_.model);
    scope_.Queued(note_.queued);
    if (answer.ok()) {
      scope_.Sent(answer->Length());
      response_->Swap(&*answer);
    }
    Finish(scope_.Finish(answer.status()));
  }

  const RpcScope scope_;
  ByteBuffer* const response_;
  size_t held_;
  RequestNote note_;
};

class PipelineReactor final
    : public grpc::ServerBidiReactor<ByteBuffer, ByteBuffer> {
 public:
  PipelineReactor(const Edge& edge, std::string_view method,
                  CallbackServerContext* context,
                  const PipelineOptions& options, WireHandler handler)
      : scope_(edge, method, context, CallShape::kConversation),
        options_(options),
        handler_(std::move(handler)) {
    Change([this] {
      if (!scope_.admission().ok()) end_ = scope_.admission();
    });
  }

  void OnReadDone(bool ok) override {
    if (ok) return Take();
    Change([this] {
      reading_ = false;
      no_more_ = true;
    });
  }

  void OnWriteDone(bool ok) override {
    Change([this, ok] {
      writing_ = false;
      bytes_ -= slots_.front()->bytes;
      scope_.Drop(slots_.front()->held);
      slots_.pop_front();
      if (!ok) Gone();
    });
  }

  void OnCancel() override {
    Change([this] { Gone(); });
  }

  void OnDone() override {
    DropAll();
    delete this;
  }

 private:
  // A request that was read, until its answer is written.
  struct Slot {
    size_t bytes;
    size_t held;  // of the answer, too
    absl::Time arrival = absl::Now();
    RequestNote note = {};
    bool answered = false;
    ByteBuffer answer = ByteBuffer();
  };
  using SlotPtr = std::shared_ptr<Slot>;

  enum class Next { kNothing, kRead, kWrite, kReadAndWrite, kFinish };

  // The one way to change state: what follows from a change is decided under
  // the same lock, since after it the reactor may be gone. gRPC is called
  // without the lock, as it may call back.
  template <typename F>
  void Change(F change) {
    Next next;
    absl::Status end;
    {
      absl::MutexLock lock(&mutex_);
      change();
      next = Decide();
      end = end_ ? *end_ : refused_;
    }
    switch (next) {
      case Next::kNothing:
        return;
      case Next::kFinish:
        return Finish(scope_.Finish(end));
      case Next::kRead:
        return StartRead(&request_);
      case Next::kWrite:
        return Write();
      case Next::kReadAndWrite:
        StartRead(&request_);
        return Write();
    }
  }

  Next Decide() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const bool read = MayRead();
    const bool write = MayWrite();
    reading_ = reading_ || read;
    writing_ = writing_ || write;
    if (read) return write ? Next::kReadAndWrite : Next::kRead;
    if (write) return Next::kWrite;
    if (!MayFinish()) return Next::kNothing;
    finished_ = true;
    return Next::kFinish;
  }

  bool MayRead() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !reading_ && !taking_ && !no_more_ && !end_ &&
           slots_.size() < options_.requests &&
           (slots_.empty() || bytes_ < options_.bytes);
  }

  bool MayWrite() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !writing_ && !end_ && !slots_.empty() && slots_.front()->answered;
  }

  // A read that waits for the client ends with the call, or Admit drops it.
  bool MayFinish() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !finished_ && !writing_ && !taking_ && computing_ == 0 &&
           (end_ || (no_more_ && slots_.empty()));
  }

  void Gone() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!end_) end_ = absl::CancelledError("the client is gone");
  }

  void Take() {
    ByteBuffer bytes;
    bytes.Swap(&request_);
    const auto slot = std::make_shared<Slot>(
        Slot{.bytes = bytes.Length(), .held = bytes.Length()});
    bool admitted = false;
    Change([&] { admitted = Admit(slot); });
    if (!admitted) return;
    const absl::Status taken =
        Handle(scope_, handler_, /*unary=*/false, &bytes, &slot->held,
               &slot->note, [this, slot](absl::StatusOr<ByteBuffer> answer) {
                 if (answer.ok()) {
                   scope_.Answered(slot->note, slot->arrival, slot->bytes,
                                   answer->Length());
                 }
                 Change([&] { Answered(slot, std::move(answer)); });
               });
    Change([&] {
      if (!taken.ok()) Answered(slot, taken);
      taking_ = false;
    });
  }

  // Whether what was read is worked on. Not once the stream ends: this goes as
  // soon as it has finished and OnReadDone returns, whatever works for it.
  bool Admit(const SlotPtr& slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    reading_ = false;
    if (end_) return false;
    refused_ = scope_.Hold(slot->bytes);
    if (!refused_.ok()) {
      no_more_ = true;  // those before it are still answered
      return false;
    }
    taking_ = true;  // the next one is not read before this one is submitted
    slots_.push_back(slot);
    bytes_ += slot->bytes;
    ++computing_;
    return true;
  }

  void Answered(const SlotPtr& slot, absl::StatusOr<ByteBuffer> answer)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    --computing_;
    slot->answered = true;
    if (!answer.ok()) {
      if (!end_) end_ = answer.status();
      return;
    }
    slot->answer.Swap(&*answer);
  }

  // The front's answer; nobody else touches it before OnWriteDone.
  void Write() {
    ByteBuffer& answer = Front().answer;
    scope_.Sent(answer.Length());
    StartWrite(&answer);
  }

  // Of a stream that ended before its answers were written.
  void DropAll() {
    absl::MutexLock lock(&mutex_);
    for (const SlotPtr& slot : slots_) scope_.Drop(slot->held);
  }

  Slot& Front() {
    absl::MutexLock lock(&mutex_);
    return *slots_.front();
  }

  const RpcScope scope_;
  const PipelineOptions options_;
  const WireHandler handler_;
  ByteBuffer request_;  // being read
  absl::Mutex mutex_;
  // In the order of their answers; the first is being written if `writing_`.
  std::deque<SlotPtr> slots_ ABSL_GUARDED_BY(mutex_);
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;      // of their requests
  size_t computing_ ABSL_GUARDED_BY(mutex_) = 0;  // of them not answered
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool taking_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool no_more_ ABSL_GUARDED_BY(mutex_) = false;  // the client sent its last
  absl::Status refused_ ABSL_GUARDED_BY(mutex_);  // and the stream with it
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);  // at once, with it
};

}  // namespace

absl::Status WireRequest::Expect(std::string_view field,
                                 uint64_t answer_bytes) const {
  RETURN_IF_ERROR(scope->HoldAnswer(field, answer_bytes, *held));
  *held += answer_bytes;
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* ReplyWire(const Edge& edge, std::string_view method,
                                    CallbackServerContext* context,
                                    const ByteBuffer* request,
                                    ByteBuffer* response,
                                    const WireHandler& handler) {
  // It is gRPC's own, and not const there. Taken, it does not keep the slices
  // until the call ends.
  auto* bytes = const_cast<ByteBuffer*>(request);
  return new WireReplyReactor(edge, method, context, bytes, response, handler);
}

grpc::ServerBidiReactor<ByteBuffer, ByteBuffer>* PipelineWire(
    const Edge& edge, std::string_view method, CallbackServerContext* context,
    const PipelineOptions& options, WireHandler handler) {
  return new PipelineReactor(edge, method, context, options,
                             std::move(handler));
}

}  // namespace octet::rpc
