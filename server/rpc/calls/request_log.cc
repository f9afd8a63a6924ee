#include "server/rpc/calls/request_log.h"

#include <algorithm>

#include "absl/time/clock.h"
#include "nlohmann/json.hpp"
#include "server/rpc/calls/status.h"
#include "spdlog/spdlog.h"

namespace octet::rpc {
namespace {

constexpr size_t kMaxMessageBytes = 512;

double Milliseconds(absl::Duration duration) {
  // Microseconds are enough, and shorter.
  return static_cast<double>(absl::ToInt64Microseconds(duration)) / 1000;
}

std::string Dump(const nlohmann::ordered_json& json) {
  // Whatever bytes a client sent, the line is UTF-8.
  return json.dump(/*indent=*/-1, ' ', /*ensure_ascii=*/true,
                   nlohmann::ordered_json::error_handler_t::replace);
}

std::string Message(const absl::Status& status) {
  return std::string(status.message().substr(0, kMaxMessageBytes));
}

spdlog::level::level_enum LevelOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDataLoss:
      return spdlog::level::err;
    default:
      return spdlog::level::warn;
  }
}

}  // namespace

std::string ToJson(const RequestRecord& record, const absl::Status& status,
                   bool slow) {
  nlohmann::ordered_json json;
  json["id"] = record.span.SpanId();
  json["trace"] = record.span.TraceId();
  json["method"] = record.method;
  if (!record.model.empty()) json["model"] = record.model;
  if (!record.request.empty()) json["request"] = record.request;
  json["code"] = CodeName(status.code());
  json["client"] = record.client;
  json["peer"] = record.peer;
  json["received_bytes"] = record.received_bytes;
  json["sent_bytes"] = record.sent_bytes;
  json["total_ms"] = Milliseconds(record.total);
  json["queue_ms"] = Milliseconds(record.queued);
  if (slow) json["slow"] = true;
  if (!status.ok()) json["message"] = Message(status);
  return Dump(json);
}

RequestLog::RequestLog(const RequestLogOptions& options)
    : options_(options),
      allowance_(std::max(1.0, options.lines_per_second)),
      updated_(absl::Now()) {}

void RequestLog::Write(const RequestRecord& record,
                       const absl::Status& status) {
  uint64_t left_out = 0;
  if (!Admit(absl::Now(), &left_out)) return;
  if (left_out > 0) {
    spdlog::warn("requests: {} lines were left out, the rate is bounded",
                 left_out);
  }
  const bool slow = record.total >= options_.slow;
  spdlog::log(LevelOf(status.code()), "{}{}", kRequestLine,
              ToJson(record, status, slow));
}

bool RequestLog::Admit(absl::Time now, uint64_t* left_out) {
  absl::MutexLock lock(&mutex_);
  // A bucket of one second's lines.
  const double earned =
      absl::ToDoubleSeconds(now - updated_) * options_.lines_per_second;
  allowance_ = std::min(allowance_ + std::max(0.0, earned),
                        std::max(1.0, options_.lines_per_second));
  updated_ = now;
  if (allowance_ < 1) {
    ++left_out_;
    return false;
  }
  allowance_ -= 1;
  *left_out = left_out_;
  left_out_ = 0;
  return true;
}

}  // namespace octet::rpc
