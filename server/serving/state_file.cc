#include "server/serving/state_file.h"

#include <algorithm>
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

using model::StrCat;
using nlohmann::json;

constexpr int kFormatVersion = 2;
constexpr uint64_t kMaxBytes = uint64_t{16} << 20;

absl::Status Damaged(const std::filesystem::path& file,
                     const std::string& complaint) {
  return absl::DataLossError(
      StrCat("'", file.filename().string(), "' is damaged: ", complaint));
}

bool HasText(const json& object, const char* key) {
  return object.contains(key) && object[key].is_string();
}

bool HasVersion(const json& object, const char* key) {
  return object.contains(key) && object[key].is_number_integer() &&
         object[key].get<int64_t>() >= 1;
}

bool IsShare(const json& value) {
  return value.is_number() && value.get<double>() >= 0 &&
         value.get<double>() <= 1;
}

// Of either format; what is wrong with it otherwise.
absl::StatusOr<VersionState> ParseVersion(const json& entry, int format) {
  if (!entry.is_object() || !HasText(entry, "source") ||
      !HasVersion(entry, "version")) {
    return absl::DataLossError("must have source and version");
  }
  VersionState version{.version = entry["version"].get<int64_t>(),
                       .source = entry["source"].get<std::string>()};
  if (format == 1) return version;
  if (!IsShare(entry.value("traffic_share", json())) ||
      !IsShare(entry.value("shadow_rate", json(0)))) {
    return absl::DataLossError(
        "must have a traffic_share, and a shadow_rate if any, from 0 to 1");
  }
  version.traffic_share = entry["traffic_share"].get<double>();
  version.shadow_rate = entry.value("shadow_rate", 0.0);
  return version;
}

absl::StatusOr<ModelState> ParseModel(const json& entry, int format) {
  if (!entry.is_object() || !HasText(entry, "id")) {
    return absl::DataLossError("must have an id");
  }
  ModelState model;
  model.id = entry["id"].get<std::string>();
  if (format == 1) {
    ASSIGN_OR_RETURN(model.versions.emplace_back(),
                     ParseVersion(entry, format));
    model.last_version = model.versions[0].version;
    return model;
  }
  const json list = entry.value("versions", json());
  if (!HasVersion(entry, "last_version") || !list.is_array() || list.empty()) {
    return absl::DataLossError("must have last_version and a list 'versions'");
  }
  model.last_version = entry["last_version"].get<int64_t>();
  std::set<int64_t> seen;
  for (const json& item : list) {
    ASSIGN_OR_RETURN(VersionState version, ParseVersion(item, format));
    if (!seen.insert(version.version).second) {
      return absl::DataLossError(
          StrCat("has version ", version.version, " twice"));
    }
    model.last_version = std::max(model.last_version, version.version);
    model.versions.push_back(std::move(version));
  }
  return model;
}

json ToJson(const ModelState& model) {
  json versions = json::array();
  for (const VersionState& version : model.versions) {
    versions.push_back({{"version", version.version},
                        {"source", version.source},
                        {"traffic_share", version.traffic_share},
                        {"shadow_rate", version.shadow_rate}});
  }
  return {{"id", model.id},
          {"last_version", model.last_version},
          {"versions", std::move(versions)}};
}

// 0 for what is no format of ours.
int FormatOf(const json& document) {
  if (!document.is_object()) return 0;
  const json format = document.value("format_version", json());
  if (format != 1 && format != kFormatVersion) return 0;
  return document.value("models", json()).is_array() ? format.get<int>() : 0;
}

}  // namespace

absl::Status SaveState(const std::filesystem::path& file,
                       const std::vector<ModelState>& models) {
  json list = json::array();
  for (const ModelState& model : models) list.push_back(ToJson(model));
  const json document = {{"format_version", kFormatVersion},
                         {"models", std::move(list)}};
  return bundle::WriteFileAtomically(file,
                                     bundle::JsonText(document, 2) + "\n");
}

absl::StatusOr<std::vector<ModelState>> LoadState(
    const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::exists(file, error)) {
    return std::vector<ModelState>{};
  }
  ASSIGN_OR_RETURN(const std::string text,
                   bundle::ReadSmallFile(file, kMaxBytes));
  const absl::StatusOr<json> document =
      bundle::ParseJson(file.filename().string(), text);
  if (!document.ok()) {
    return Damaged(file, std::string(document.status().message()));
  }
  const int format = FormatOf(*document);
  if (format == 0) {
    return Damaged(file, StrCat("it must have a format_version of at most ",
                                kFormatVersion, " and a list 'models'"));
  }
  std::vector<ModelState> models;
  std::set<std::string> ids;
  for (const json& entry : (*document)["models"]) {
    absl::StatusOr<ModelState> model = ParseModel(entry, format);
    if (!model.ok()) {
      return Damaged(file, StrCat("models[", models.size(), "] ",
                                  model.status().message()));
    }
    if (!ids.insert(model->id).second) {
      return Damaged(file, StrCat("model '", model->id, "' is there twice"));
    }
    models.push_back(*std::move(model));
  }
  return models;
}

}  // namespace octet::serving
