#include "server/serving/state_file.h"

#include <set>
#include <system_error>
#include <utility>

#include "kernels/status_macros.h"
#include "nlohmann/json.hpp"
#include "server/bundle/atomic_file.h"
#include "server/bundle/io.h"
#include "server/bundle/json.h"
#include "server/model/str_cat.h"

namespace octet::serving {
namespace {

using nlohmann::json;

constexpr int kFormatVersion = 1;
constexpr uint64_t kMaxBytes = uint64_t{16} << 20;

absl::Status Damaged(const std::filesystem::path& file,
                     const std::string& complaint) {
  return absl::DataLossError(model::StrCat("'", file.filename().string(),
                                           "' is damaged: ", complaint));
}

bool IsServedModel(const json& entry) {
  return entry.is_object() && entry.contains("id") && entry["id"].is_string() &&
         entry.contains("source") && entry["source"].is_string() &&
         entry.contains("version") && entry["version"].is_number_integer();
}

}  // namespace

absl::Status SaveState(const std::filesystem::path& file,
                       const std::vector<ServedModel>& models) {
  json list = json::array();
  for (const ServedModel& model : models) {
    list.push_back({{"id", model.id},
                    {"source", model.source},
                    {"version", model.version}});
  }
  const json document = {{"format_version", kFormatVersion},
                         {"models", std::move(list)}};
  return bundle::WriteFileAtomically(file,
                                     bundle::JsonText(document, 2) + "\n");
}

absl::StatusOr<std::vector<ServedModel>> LoadState(
    const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::exists(file, error)) {
    return std::vector<ServedModel>{};
  }
  ASSIGN_OR_RETURN(const std::string text,
                   bundle::ReadSmallFile(file, kMaxBytes));
  const absl::StatusOr<json> document =
      bundle::ParseJson(file.filename().string(), text);
  if (!document.ok()) {
    return Damaged(file, std::string(document.status().message()));
  }
  if (!document->is_object() ||
      document->value("format_version", json()) != kFormatVersion ||
      !document->value("models", json()).is_array()) {
    return Damaged(file, "it must have format_version 1 and a list 'models'");
  }
  std::vector<ServedModel> models;
  std::set<std::string> ids;
  for (const json& entry : (*document)["models"]) {
    if (!IsServedModel(entry)) {
      return Damaged(file, model::StrCat("models[", models.size(),
                                         "] must have id, source and version"));
    }
    models.push_back({.id = entry["id"].get<std::string>(),
                      .source = entry["source"].get<std::string>(),
                      .version = entry["version"].get<int64_t>()});
    if (!ids.insert(models.back().id).second) {
      return Damaged(
          file, model::StrCat("model '", models.back().id, "' is there twice"));
    }
  }
  return models;
}

}  // namespace octet::serving
