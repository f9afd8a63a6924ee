#include "client/lib/rpc_status.h"

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"

namespace octet::client {
namespace {

constexpr char kDetailsUrl[] = "type.googleapis.com/google.rpc.Status";

std::optional<google::rpc::Status> Details(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kDetailsUrl);
  if (!payload.has_value()) return std::nullopt;
  google::rpc::Status details;
  if (!details.ParseFromString(std::string(*payload))) return std::nullopt;
  return details;
}

// The first detail of type `Message`.
template <typename Message>
std::optional<Message> Find(const absl::Status& status) {
  const std::optional<google::rpc::Status> all = Details(status);
  if (!all.has_value()) return std::nullopt;
  for (const google::protobuf::Any& any : all->details()) {
    Message message;
    if (any.UnpackTo(&message)) return message;
  }
  return std::nullopt;
}

absl::StatusCode Code(int code) {
  // Both enumerations have the canonical numbers; others count as UNKNOWN.
  return code >= 0 && code <= 16 ? static_cast<absl::StatusCode>(code)
                                 : absl::StatusCode::kUnknown;
}

}  // namespace

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  absl::Status result(Code(static_cast<int>(status.error_code())),
                      status.error_message());
  if (!status.error_details().empty()) {
    result.SetPayload(kDetailsUrl, absl::Cord(status.error_details()));
  }
  return result;
}

absl::Status FromProto(const google::rpc::Status& status) {
  absl::Status result(Code(status.code()), status.message());
  if (!result.ok() && status.details_size() > 0) {
    result.SetPayload(kDetailsUrl, absl::Cord(status.SerializeAsString()));
  }
  return result;
}

std::vector<FieldViolation> FieldViolations(const absl::Status& status) {
  std::vector<FieldViolation> violations;
  const auto request = Find<google::rpc::BadRequest>(status);
  if (!request.has_value()) return violations;
  for (const auto& violation : request->field_violations()) {
    violations.push_back({violation.field(), violation.description()});
  }
  return violations;
}

std::optional<absl::Duration> RetryDelay(const absl::Status& status) {
  const auto retry = Find<google::rpc::RetryInfo>(status);
  if (!retry.has_value()) return std::nullopt;
  return absl::Seconds(retry->retry_delay().seconds()) +
         absl::Nanoseconds(retry->retry_delay().nanos());
}

std::string Describe(const absl::Status& status) {
  std::string text = absl::StatusCodeToString(status.code());
  // gRPC's own "CANCELLED" says no more.
  if (!status.message().empty() && status.message() != text) {
    absl::StrAppend(&text, ": ", status.message());
  }
  for (const FieldViolation& violation : FieldViolations(status)) {
    if (absl::StrContains(status.message(), violation.field) &&
        absl::StrContains(status.message(), violation.description)) {
      continue;
    }
    absl::StrAppend(&text, "\n  ", violation.field, ": ",
                    violation.description);
  }
  return text;
}

}  // namespace octet::client
