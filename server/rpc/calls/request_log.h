// One line for each call, and each request of a stream of requests, that failed
// or was slow, none for the others:
//
//   request {"id":"00f067aa0ba902b7","trace":"4bf9...","method":
//     "InferenceService/Forward","model":"minilm","code":"INVALID_ARGUMENT",
//     "client":"ci","peer":"10.0.0.7","received_bytes":812,"sent_bytes":0,
//     "total_ms":0.214,"queue_ms":0.031,"message":"inputs.tokens.ids[3]: ..."}
//
// No payload and no secret is in it: the message is the one the caller got,
// which names fields and ids. The rate is bounded; a line says how many were
// left out.

#ifndef OCTET_SERVER_RPC_CALLS_REQUEST_LOG_H_
#define OCTET_SERVER_RPC_CALLS_REQUEST_LOG_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/rpc/calls/traceparent.h"

namespace octet::rpc {

// What begins the message of such a line; JSON follows.
inline constexpr std::string_view kRequestLine = "request ";

// What is known of a call when it ends.
struct RequestRecord {
  TraceContext span;
  std::string_view method;  // "InferenceService/Forward"
  std::string model;        // empty: the call was not about one
  std::string request;      // of a stream: the id that its client gave it
  std::string client;       // Security::ClientOf
  std::string peer;         // "ipv4:10.0.0.7:51234"
  size_t received_bytes = 0;
  size_t sent_bytes = 0;
  absl::Duration total;
  absl::Duration queued;
};

// The line's JSON.
std::string ToJson(const RequestRecord& record, const absl::Status& status,
                   bool slow);

struct RequestLogOptions {
  absl::Duration slow = absl::Seconds(1);  // unary calls that take longer
  double lines_per_second = 20;
};

class RequestLog {
 public:
  explicit RequestLog(const RequestLogOptions& options);

  // Whether a call that ends so has a line. Cheap: most have none.
  bool Wants(const absl::Status& status, absl::Duration total,
             bool stream) const {
    return !status.ok() || (!stream && total >= options_.slow);
  }

  void Write(const RequestRecord& record, const absl::Status& status);

 private:
  // Whether another line may be written; says how many were not before.
  bool Admit(absl::Time now, uint64_t* left_out);

  const RequestLogOptions options_;
  absl::Mutex mutex_;
  double allowance_ ABSL_GUARDED_BY(mutex_);  // lines
  absl::Time updated_ ABSL_GUARDED_BY(mutex_);
  uint64_t left_out_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_CALLS_REQUEST_LOG_H_
