// Errors of the server as absl::Status, details kept.
//
// The code and message are the server's. Its google.rpc details (field
// violations, retry delay) travel as one payload of the status and are read
// with the functions below.

#ifndef OCTET_CLIENT_LIB_RPC_STATUS_H_
#define OCTET_CLIENT_LIB_RPC_STATUS_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"

namespace octet::client {

struct FieldViolation {
  std::string field;
  std::string description;
};

absl::Status FromGrpc(const grpc::Status& status);
absl::Status FromProto(const google::rpc::Status& status);

// The fields the server found wrong; empty when it named none.
std::vector<FieldViolation> FieldViolations(const absl::Status& status);

// How long the server asks to wait before a retry.
std::optional<absl::Duration> RetryDelay(const absl::Status& status);

// "NOT_FOUND: there is no bundle 'x'", and below it one indented line for each
// violated field that the message does not already name.
std::string Describe(const absl::Status& status);

}  // namespace octet::client

#endif  // OCTET_CLIENT_LIB_RPC_STATUS_H_
