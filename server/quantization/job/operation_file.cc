#include "server/quantization/job/operation_file.h"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "kernels/status_macros.h"
#include "server/bundle/atomic_file.h"
#include "server/bundle/io.h"
#include "server/bundle/json.h"
#include "server/model/str_cat.h"

namespace octet::quantization {
namespace {

constexpr uint64_t kMaxBytes = 64 << 10;

constexpr std::array<std::pair<OperationState, std::string_view>, 5> kStates = {
    {{OperationState::kQueued, "queued"},
     {OperationState::kRunning, "running"},
     {OperationState::kSucceeded, "succeeded"},
     {OperationState::kFailed, "failed"},
     {OperationState::kCancelled, "cancelled"}}};

std::string StateName(OperationState state) {
  return std::string(kStates[static_cast<size_t>(state)].second);
}

std::string TimeText(absl::Time time) {
  return absl::FormatTime(absl::RFC3339_full, time, absl::UTCTimeZone());
}

// Reads fields, and remembers whether all of them were there.
class Fields {
 public:
  explicit Fields(const nlohmann::json& json) : json_(json) {}

  std::string Text(const char* key) {
    const auto found = json_.find(key);
    if (found == json_.end() || !found->is_string()) {
      good_ = false;
      return "";
    }
    return found->get<std::string>();
  }

  int Number(const char* key) {
    const auto found = json_.find(key);
    if (found == json_.end() || !found->is_number_integer()) {
      good_ = false;
      return 0;
    }
    return found->get<int>();
  }

  absl::Time Time(const char* key) {
    absl::Time time;
    std::string error;
    if (!absl::ParseTime(absl::RFC3339_full, Text(key), &time, &error)) {
      good_ = false;
    }
    return time;
  }

  OperationState State(const char* key) {
    const std::string name = Text(key);
    for (const auto& [state, text] : kStates) {
      if (text == name) return state;
    }
    good_ = false;
    return OperationState::kFailed;
  }

  bool good() const { return good_; }

 private:
  const nlohmann::json& json_;
  bool good_ = true;
};

}  // namespace

absl::Status SaveOperation(const Operation& operation,
                           const std::filesystem::path& file) {
  const absl::string_view message = operation.error.message();
  const nlohmann::json json = {
      {"id", operation.id},
      {"state", StateName(operation.state)},
      {"stage", operation.progress.stage},
      {"layer", operation.progress.layer},
      {"done_steps", operation.progress.done},
      {"total_steps", operation.progress.total},
      {"checkpoint", operation.checkpoint},
      {"bundle", operation.bundle},
      {"error_code", static_cast<int>(operation.error.code())},
      {"error_message", std::string(message.data(), message.size())},
      {"create_time", TimeText(operation.create_time)},
      {"end_time", TimeText(operation.end_time)}};
  return bundle::WriteFileAtomically(file, bundle::JsonText(json, 1));
}

absl::StatusOr<Operation> LoadOperation(const std::filesystem::path& file) {
  const std::string name = file.filename().string();
  ASSIGN_OR_RETURN(const std::string text,
                   bundle::ReadSmallFile(file, kMaxBytes));
  const absl::Status damaged = absl::DataLossError(model::StrCat(
      "the operation file ", bundle::Quoted(name), " is damaged"));
  const absl::StatusOr<nlohmann::json> json = bundle::ParseJson(name, text);
  if (!json.ok() || !json->is_object()) return damaged;

  Fields fields(*json);
  Operation operation;
  operation.id = fields.Text("id");
  operation.state = fields.State("state");
  operation.progress = {.stage = fields.Text("stage"),
                        .layer = fields.Text("layer"),
                        .done = fields.Number("done_steps"),
                        .total = fields.Number("total_steps")};
  operation.checkpoint = fields.Text("checkpoint");
  operation.bundle = fields.Text("bundle");
  const auto code = static_cast<absl::StatusCode>(fields.Number("error_code"));
  operation.error = absl::Status(code, fields.Text("error_message"));
  operation.create_time = fields.Time("create_time");
  operation.end_time = fields.Time("end_time");
  if (!fields.good()) return damaged;
  return operation;
}

}  // namespace octet::quantization
