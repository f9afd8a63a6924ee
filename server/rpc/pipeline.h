// A bidirectional stream with many requests in flight: each is read as soon as
// it is there and answered whenever its answer is done; answers are written in
// the order of the requests.
//
//   read  r1 r2 r3 ...     at most 64 requests, or 64 MiB of them, in flight:
//   done     a2 a1 a3      then the stream is read no further, and flow control
//   write       a1 a2 a3   holds the client back

#ifndef OCTET_SERVER_RPC_PIPELINE_H_
#define OCTET_SERVER_RPC_PIPELINE_H_

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/server_callback.h"
#include "server/rpc/reactors.h"

namespace octet::rpc {

template <typename Request, typename Response>
class PipelineReactor final
    : public grpc::ServerBidiReactor<Request, Response> {
 public:
  using Done = std::function<void(const absl::Status&)>;
  // Fills the response and calls `done` once, now or later, on any thread;
  // until then both messages stay where they are. An error ends the stream,
  // after the answers to the requests before it.
  using Answer = std::function<void(const Request&, absl::Time arrival,
                                    Response*, Done done)>;

  PipelineReactor(const Edge& edge, std::string_view method,
                  grpc::CallbackServerContext* context, Answer answer)
      : scope_(edge, method, context), answer_(std::move(answer)) {
    Advance([] {});
  }

  void OnReadDone(bool ok) override {
    Exchange* exchange = nullptr;
    Advance([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      reading_ = false;
      if (!ok) ended_ = true;
      if (!ok || failed()) return;
      arrived_->bytes = arrived_->request.ByteSizeLong();
      arrived_->arrival = absl::Now();
      bytes_ += arrived_->bytes;
      exchanges_.push_back(std::move(arrived_));
      exchange = exchanges_.back().get();
    });
    if (exchange == nullptr) return;
    scope_.Received(exchange->request);
    answer_(exchange->request, exchange->arrival, &exchange->response,
            [this, exchange](const absl::Status& status) {
              Advance([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
                exchange->done = true;
                exchange->status = status;
              });
            });
  }

  void OnWriteDone(bool ok) override {
    Advance([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      writing_ = false;
      if (!ok) Fail(absl::CancelledError("the client is gone"));
      PopFront();
    });
  }

  void OnDone() override { delete this; }

 private:
  static constexpr size_t kMaxRequests = 64;
  static constexpr size_t kMaxBytes = size_t{64} << 20;

  struct Exchange {
    Request request;
    Response response;
    absl::Time arrival;
    size_t bytes = 0;
    bool done = false;
    absl::Status status;
  };
  enum class Action { kNone, kRead, kWrite, kFinish };

  // Changes what is known, then does what follows from it. gRPC is called by
  // one thread at a time and without the lock; whoever comes meanwhile leaves
  // word and goes.
  void Advance(absl::FunctionRef<void()> change) {
    {
      absl::MutexLock lock(&mutex_);
      change();
      if (word_++ > 0) return;
    }
    while (true) {
      size_t seen;
      Action action;
      {
        absl::MutexLock lock(&mutex_);
        seen = word_;
        action = Next();
      }
      switch (action) {
        case Action::kRead:
          this->StartRead(&arrived_->request);
          break;
        case Action::kWrite:
          scope_.Sent(front_->response);
          this->StartWrite(&front_->response);
          break;
        case Action::kFinish:
          // Nothing is left of this when it returns.
          return this->Finish(scope_.Finish(end_));
        case Action::kNone: {
          absl::MutexLock lock(&mutex_);
          if (word_ != seen) break;
          word_ = 0;
          return;
        }
      }
    }
  }

  Action Next() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (finished_) return Action::kNone;
    while (!writing_ && !exchanges_.empty() && exchanges_.front()->done) {
      if (!exchanges_.front()->status.ok()) Fail(exchanges_.front()->status);
      if (!failed()) {
        writing_ = true;
        front_ = exchanges_.front().get();
        return Action::kWrite;
      }
      PopFront();
    }
    if (!reading_ && !ended_ && !failed() && exchanges_.size() < kMaxRequests &&
        bytes_ < kMaxBytes) {
      reading_ = true;
      arrived_ = std::make_unique<Exchange>();
      return Action::kRead;
    }
    if (exchanges_.empty() && (ended_ || failed())) {
      finished_ = true;
      return Action::kFinish;
    }
    return Action::kNone;
  }

  bool failed() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !end_.ok();
  }
  void Fail(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    end_.Update(status);
  }
  void PopFront() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    bytes_ -= exchanges_.front()->bytes;
    exchanges_.pop_front();
  }

  const RpcScope scope_;
  const Answer answer_;
  absl::Mutex mutex_;
  size_t word_ ABSL_GUARDED_BY(mutex_) = 0;  // changes not acted upon yet
  std::deque<std::unique_ptr<Exchange>> exchanges_ ABSL_GUARDED_BY(mutex_);
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;  // of their requests
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;  // there are no more requests
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status end_;                   // changed before kFinish alone
  std::unique_ptr<Exchange> arrived_;  // whose request is being read
  Exchange* front_ = nullptr;          // whose response is being written
};

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_PIPELINE_H_
