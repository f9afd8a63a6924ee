// How an error leaves the server: absl::Status -> grpc::Status, in one place.
//
// Lower layers know nothing of protobuf. They write sentences, and two forms
// of sentence carry machine-readable details:
//
//   "tokens.ids[3]: 40000 is not below ..."   INVALID_ARGUMENT or OUT_OF_RANGE
//       that starts with a field path         -> google.rpc.BadRequest
//   "checkpoint 'x' does not exist"           NOT_FOUND or ALREADY_EXISTS that
//       starts with a kind and a quoted name  -> google.rpc.ResourceInfo
//
// Every error has a google.rpc.ErrorInfo (domain "octet"; reason the name of
// the code, or OVERLOADED), and an overload has a google.rpc.RetryInfo. They
// travel in `grpc-status-details-bin`.

#ifndef OCTET_SERVER_RPC_CALLS_STATUS_H_
#define OCTET_SERVER_RPC_CALLS_STATUS_H_

#include <string_view>
#include <type_traits>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace google::rpc {
class Status;
}
namespace grpc {
class Status;
}

namespace octet::rpc {

grpc::Status ToGrpcStatus(const absl::Status& status);
// The same, for messages that carry a status.
google::rpc::Status ToRpcStatus(const absl::Status& status);

// "INVALID_ARGUMENT"
std::string_view CodeName(absl::StatusCode code);

// INVALID_ARGUMENT "field: description".
absl::Status FieldViolation(std::string_view field,
                            std::string_view description);

// The same error seen from the message that holds the field: with "inputs",
// "tokens.ids[3]: ..." becomes "inputs.tokens.ids[3]: ...", and a sentence
// without a field becomes "inputs: ...". OK stays OK.
absl::Status InsideField(std::string_view field, const absl::Status& status);

// Marks a RESOURCE_EXHAUSTED as passing: the client may try again after that
// time. Any other code stays as it is.
absl::Status RetryAfter(absl::Duration delay, absl::Status status);

// What `work` returns; running out of memory is RESOURCE_EXHAUSTED. No
// exception gets past here.
absl::Status Guarded(absl::FunctionRef<absl::Status()> work);

// The exception that is being handled, as Guarded returns it.
absl::Status StatusOfException();

// The same of a value that `make` returns, such as an answer's message.
template <typename Make>
absl::StatusOr<std::invoke_result_t<Make>> GuardedValue(Make make) {
  try {
    return make();
  } catch (...) {
    return StatusOfException();
  }
}

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_CALLS_STATUS_H_
