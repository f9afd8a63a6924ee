#include "client/lib/operations.h"

#include "absl/strings/str_cat.h"

namespace octet::client {

using Stub = v1::QuantizationService::Stub;

namespace {

// One stream: how it ended, and the last state it brought.
absl::Status WatchOnce(Connection& connection,
                       const v1::WatchOperationRequest& request,
                       const OperationFn& changed, v1::Operation* last,
                       bool* progressed) {
  Call call(connection);
  const auto stream =
      connection.quantization().WatchOperation(&call.context(), request);
  *progressed = false;
  while (stream->Read(last)) {
    *progressed = true;
    if (changed) changed(*last);
  }
  return FromGrpc(stream->Finish());
}

}  // namespace

absl::StatusOr<v1::Operation> Quantize(Connection& connection,
                                       const v1::QuantizeRequest& request) {
  Call call(connection, Call::Cancellation::kIgnores);
  v1::Operation operation;
  const absl::Status status = FromGrpc(
      connection.quantization().Quantize(&call.context(), request, &operation));
  if (!status.ok()) return status;
  return operation;
}

absl::StatusOr<v1::Operation> WatchOperation(Connection& connection,
                                             absl::string_view id,
                                             const RetryPolicy& retry,
                                             const OperationFn& changed) {
  v1::WatchOperationRequest request;
  request.set_name(ResourceName("operations", id));
  Backoff backoff(retry);
  v1::Operation operation;
  while (true) {
    bool progressed = false;
    absl::Status status =
        WatchOnce(connection, request, changed, &operation, &progressed);
    if (IsDone(operation)) return operation;
    if (progressed) backoff.Progressed();
    if (status.ok()) {
      status = absl::UnavailableError(
          absl::StrCat("the watch of ", request.name(), " ended before it"));
    }
    absl::Duration wait;
    if (!ConnectionBroke(status) || !backoff.Next(&wait)) return status;
    const absl::Status slept = connection.Sleep(wait);
    if (!slept.ok()) return slept;
  }
}

absl::StatusOr<v1::Operation> GetOperation(Connection& connection,
                                           absl::string_view id) {
  v1::GetOperationRequest request;
  request.set_name(ResourceName("operations", id));
  return Unary(connection, connection.quantization(), &Stub::GetOperation,
               request);
}

absl::StatusOr<v1::Operation> CancelOperation(Connection& connection,
                                              absl::string_view id) {
  v1::CancelOperationRequest request;
  request.set_name(ResourceName("operations", id));
  return Unary(connection, connection.quantization(), &Stub::CancelOperation,
               request);
}

absl::StatusOr<v1::ListOperationsResponse> ListOperations(
    Connection& connection) {
  return Unary(connection, connection.quantization(), &Stub::ListOperations,
               v1::ListOperationsRequest());
}

bool IsDone(const v1::Operation& operation) {
  return operation.state() == v1::Operation::STATE_SUCCEEDED ||
         operation.state() == v1::Operation::STATE_FAILED ||
         operation.state() == v1::Operation::STATE_CANCELLED;
}

absl::Status Outcome(const v1::Operation& operation) {
  switch (operation.state()) {
    case v1::Operation::STATE_SUCCEEDED:
      return absl::OkStatus();
    case v1::Operation::STATE_FAILED: {
      const absl::Status error = FromProto(operation.error());
      return error.ok()
                 ? absl::UnknownError(absl::StrCat(operation.name(), " failed"))
                 : error;
    }
    case v1::Operation::STATE_CANCELLED:
      return absl::CancelledError(
          absl::StrCat(operation.name(), " was cancelled"));
    default:
      return absl::UnavailableError(
          absl::StrCat(operation.name(), " is not done yet"));
  }
}

}  // namespace octet::client
