#include "server/rpc/calls/status.h"

#include <algorithm>
#include <cctype>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"
#include "server/model/str_cat.h"

namespace octet::rpc {
namespace {

using model::StrCat;

// All metadata of an answer must fit HTTP/2 header limits (8 KiB by default):
// the message travels twice, once percent-encoded and once in base64.
constexpr size_t kMaxMessageBytes = 1024;
constexpr size_t kMaxDetailBytes = 256;

constexpr char kRetryPayload[] = "octet/retry-after";

std::string_view View(absl::string_view text) {
  return {text.data(), text.size()};
}

// Text that any client can show: ASCII, cut to `limit`.
std::string Printable(std::string_view text, size_t limit) {
  const bool cut = text.size() > limit;
  std::string result(text.substr(0, cut ? limit - 3 : limit));
  for (char& c : result) {
    if (c < ' ' || c > '~') c = '?';
  }
  return cut ? result + "..." : result;
}

// "tokens.ids[3]: text" -> {"tokens.ids[3]", "text"}
std::optional<std::pair<std::string_view, std::string_view>> SplitField(
    std::string_view message) {
  const size_t colon = message.find(": ");
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  const std::string_view field = message.substr(0, colon);
  const bool is_path = std::all_of(field.begin(), field.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' ||
           c == '.' || c == '[' || c == ']';
  });
  if (!is_path || std::isalpha(static_cast<unsigned char>(field[0])) == 0) {
    return std::nullopt;
  }
  return std::make_pair(field, message.substr(colon + 2));
}

// "checkpoint 'x' does not exist" -> {"checkpoint", "x"}
std::optional<std::pair<std::string_view, std::string_view>> SplitResource(
    std::string_view message) {
  const size_t open = message.find(" '");
  if (open == std::string_view::npos) return std::nullopt;
  const std::string_view kind = message.substr(0, open);
  if (kind.empty() || kind.find(' ') != std::string_view::npos) {
    return std::nullopt;
  }
  const size_t close = message.find('\'', open + 2);
  if (close == std::string_view::npos) return std::nullopt;
  return std::make_pair(kind, message.substr(open + 2, close - open - 2));
}

// A resource is named "checkpoints/x"; a part of one goes by its own name.
std::string ResourceName(std::string_view kind, std::string_view id) {
  for (const std::string_view resource :
       {"checkpoint", "calibration", "operation", "bundle", "model"}) {
    if (kind == resource) return StrCat(kind, "s/", id);
  }
  return std::string(id);
}

void AddFieldViolation(std::string_view message, google::rpc::Status& out) {
  const auto parts = SplitField(message);
  if (!parts) return;
  google::rpc::BadRequest bad_request;
  auto* violation = bad_request.add_field_violations();
  violation->set_field(Printable(parts->first, kMaxDetailBytes));
  violation->set_description(Printable(parts->second, kMaxDetailBytes));
  out.add_details()->PackFrom(bad_request);
}

void AddResource(std::string_view message, google::rpc::Status& out) {
  const auto parts = SplitResource(message);
  if (!parts) return;
  google::rpc::ResourceInfo resource;
  resource.set_resource_type(Printable(parts->first, kMaxDetailBytes));
  resource.set_resource_name(
      Printable(ResourceName(parts->first, parts->second), kMaxDetailBytes));
  resource.set_description(Printable(message, kMaxDetailBytes));
  out.add_details()->PackFrom(resource);
}

void AddRetry(std::string_view milliseconds, google::rpc::Status& out) {
  const int64_t delay = std::stoll(std::string(milliseconds));
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(delay / 1000);
  retry.mutable_retry_delay()->set_nanos(
      static_cast<int32_t>(delay % 1000 * 1'000'000));
  out.add_details()->PackFrom(retry);
}

}  // namespace

std::string_view CodeName(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return "OK";
    case absl::StatusCode::kCancelled:
      return "CANCELLED";
    case absl::StatusCode::kInvalidArgument:
      return "INVALID_ARGUMENT";
    case absl::StatusCode::kDeadlineExceeded:
      return "DEADLINE_EXCEEDED";
    case absl::StatusCode::kNotFound:
      return "NOT_FOUND";
    case absl::StatusCode::kAlreadyExists:
      return "ALREADY_EXISTS";
    case absl::StatusCode::kPermissionDenied:
      return "PERMISSION_DENIED";
    case absl::StatusCode::kResourceExhausted:
      return "RESOURCE_EXHAUSTED";
    case absl::StatusCode::kFailedPrecondition:
      return "FAILED_PRECONDITION";
    case absl::StatusCode::kAborted:
      return "ABORTED";
    case absl::StatusCode::kOutOfRange:
      return "OUT_OF_RANGE";
    case absl::StatusCode::kUnimplemented:
      return "UNIMPLEMENTED";
    case absl::StatusCode::kInternal:
      return "INTERNAL";
    case absl::StatusCode::kUnavailable:
      return "UNAVAILABLE";
    case absl::StatusCode::kDataLoss:
      return "DATA_LOSS";
    case absl::StatusCode::kUnauthenticated:
      return "UNAUTHENTICATED";
    default:
      return "UNKNOWN";
  }
}

absl::Status FieldViolation(std::string_view field,
                            std::string_view description) {
  return absl::InvalidArgumentError(StrCat(field, ": ", description));
}

absl::Status InsideField(std::string_view field, const absl::Status& status) {
  if (status.ok()) return status;
  const std::string_view message = View(status.message());
  const char* joint = SplitField(message) ? "." : ": ";
  absl::Status result(status.code(), StrCat(field, joint, message));
  status.ForEachPayload([&](absl::string_view type, const absl::Cord& payload) {
    result.SetPayload(type, payload);
  });
  return result;
}

absl::Status RetryAfter(absl::Duration delay, absl::Status status) {
  if (absl::IsResourceExhausted(status)) {
    status.SetPayload(kRetryPayload,
                      absl::Cord(StrCat(absl::ToInt64Milliseconds(delay))));
  }
  return status;
}

absl::Status Guarded(absl::FunctionRef<absl::Status()> work) {
  try {
    return work();
  } catch (...) {
    return StatusOfException();
  }
}

absl::Status StatusOfException() {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("the server has not enough memory");
  } catch (const std::exception& error) {
    return absl::InternalError(StrCat("unexpected: ", error.what()));
  } catch (...) {
    return absl::InternalError("unexpected");
  }
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const google::rpc::Status out = ToRpcStatus(status);
  return {static_cast<grpc::StatusCode>(status.code()), out.message(),
          out.SerializeAsString()};
}

google::rpc::Status ToRpcStatus(const absl::Status& status) {
  google::rpc::Status out;
  if (status.ok()) return out;
  const std::string_view message = View(status.message());
  out.set_code(static_cast<int32_t>(status.code()));
  out.set_message(Printable(message, kMaxMessageBytes));

  const auto retry = status.GetPayload(kRetryPayload);
  google::rpc::ErrorInfo info;
  info.set_domain("octet");
  info.set_reason(retry ? "OVERLOADED" : std::string(CodeName(status.code())));
  out.add_details()->PackFrom(info);
  if (absl::IsInvalidArgument(status) || absl::IsOutOfRange(status)) {
    AddFieldViolation(message, out);
  }
  if (absl::IsNotFound(status) || absl::IsAlreadyExists(status)) {
    AddResource(message, out);
  }
  if (retry) AddRetry(std::string(*retry), out);
  return out;
}

}  // namespace octet::rpc
