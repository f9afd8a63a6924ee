// Quantizations as operations: start, watch, cancel.

#ifndef OCTET_CLIENT_LIB_OPERATIONS_H_
#define OCTET_CLIENT_LIB_OPERATIONS_H_

#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/lib/connection.h"
#include "client/lib/retry.h"

namespace octet::client {

using OperationFn = std::function<void(const v1::Operation& operation)>;

absl::StatusOr<v1::Operation> Quantize(Connection& connection,
                                       const v1::QuantizeRequest& request);

// Calls `changed` with every state until the operation is done, and returns the
// last one, whatever it is. A broken watch connects again.
absl::StatusOr<v1::Operation> WatchOperation(Connection& connection,
                                             absl::string_view id,
                                             const RetryPolicy& retry,
                                             const OperationFn& changed);

absl::StatusOr<v1::Operation> GetOperation(Connection& connection,
                                           absl::string_view id);
absl::StatusOr<v1::Operation> CancelOperation(Connection& connection,
                                              absl::string_view id);
absl::StatusOr<v1::ListOperationsResponse> ListOperations(
    Connection& connection);

bool IsDone(const v1::Operation& operation);

// OK when it succeeded; its error when it failed; CANCELLED when it was
// cancelled; UNAVAILABLE when it is not done.
absl::Status Outcome(const v1::Operation& operation);

}  // namespace octet::client

#endif  // OCTET_CLIENT_LIB_OPERATIONS_H_
