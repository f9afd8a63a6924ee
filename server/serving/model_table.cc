#include "server/serving/model_table.h"

#include <algorithm>
#include <utility>

#include "server/model/str_cat.h"

namespace octet::serving {
namespace {

using model::StrCat;

// Scales the shares of all but `except` so that they add up to `sum`.
void Scale(ServedModel& model, std::optional<int64_t> except, double sum) {
  double now = 0;
  for (const auto& [version, served] : model.versions) {
    if (version != except) now += served.traffic_share;
  }
  for (auto& [version, served] : model.versions) {
    if (version != except && now > 0) served.traffic_share *= sum / now;
  }
}

bool HasShare(const ServedModel& model, int64_t except) {
  return std::any_of(
      model.versions.begin(), model.versions.end(), [&](const auto& item) {
        return item.first != except && item.second.traffic_share > 0;
      });
}

std::string Versions(const ServedModel& model) {
  std::string list;
  for (const auto& [version, served] : model.versions) {
    if (served.model == nullptr) continue;
    list += list.empty() ? "; loaded are versions: " : ", ";
    list += std::to_string(version);
  }
  return list.empty() ? "; no version is loaded" : list;
}

// Of those that were loaded, with the largest share, the newest of equals.
const ServedVersion* PrimaryOf(const ServedModel& model) {
  const ServedVersion* primary = nullptr;
  for (const auto& [version, served] : model.versions) {
    if (served.model == nullptr) continue;
    if (primary == nullptr || served.traffic_share >= primary->traffic_share) {
      primary = &served;
    }
  }
  return primary;
}

absl::Status CouldNotLoad(std::string_view id, const ServedVersion& served) {
  return absl::FailedPreconditionError(
      StrCat("model '", id, "' could not be loaded from '", served.source,
             "' when the server started: ", served.error.message()));
}

absl::Status TakesNoRequests(std::string_view id, const ServedModel& model) {
  for (const auto& [version, served] : model.versions) {
    if (served.model == nullptr) return CouldNotLoad(id, served);
  }
  return absl::FailedPreconditionError(
      StrCat("no version of model '", id,
             "' takes requests that name no version; name one or give one a "
             "traffic share",
             Versions(model)));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const LoadedModel>> ModelTable::Find(
    std::string_view id, std::optional<int64_t> version, double draw) const {
  const auto found = models_.find(id);
  if (found == models_.end()) return NotLoaded(id);
  const ServedModel& model = found->second;
  if (version) {
    const auto served = model.versions.find(*version);
    if (served == model.versions.end()) {
      return absl::NotFoundError(StrCat("version ", *version, " of model '", id,
                                        "' is not loaded", Versions(model)));
    }
    if (served->second.model == nullptr) {
      return CouldNotLoad(id, served->second);
    }
    return served->second.model;
  }
  double sum = 0;  // of those that can answer
  for (const auto& [number, served] : model.versions) {
    if (served.model != nullptr) sum += served.traffic_share;
  }
  double left = draw * sum;
  const ServedVersion* chosen = nullptr;
  for (const auto& [number, served] : model.versions) {
    if (served.model == nullptr || served.traffic_share <= 0) continue;
    chosen = &served;
    left -= served.traffic_share;
    if (left < 0) break;
  }
  if (chosen == nullptr) return TakesNoRequests(id, model);
  return chosen->model;
}

bool ModelTable::IsSplit(std::string_view id) const {
  const auto found = models_.find(id);
  return found != models_.end() && found->second.versions.size() > 1;
}

absl::StatusOr<std::shared_ptr<const LoadedModel>> ModelTable::Primary(
    std::string_view id) const {
  const auto found = models_.find(id);
  if (found == models_.end()) return NotLoaded(id);
  const ServedVersion* const primary = PrimaryOf(found->second);
  if (primary == nullptr) return TakesNoRequests(id, found->second);
  return primary->model;
}

std::optional<telemetry::ModelDescription> ModelTable::Describe(
    std::string_view id) const {
  const auto found = models_.find(id);
  if (found == models_.end()) return std::nullopt;
  const ServedVersion* const primary = PrimaryOf(found->second);
  if (primary == nullptr) return std::nullopt;
  telemetry::ModelDescription description = primary->description;
  description.resident_bytes = 0;
  for (const auto& [version, served] : found->second.versions) {
    description.resident_bytes += served.description.resident_bytes;
  }
  return description;
}

const ServedVersion* ModelTable::Get(std::string_view id,
                                     int64_t version) const {
  const auto found = models_.find(id);
  if (found == models_.end()) return nullptr;
  const auto served = found->second.versions.find(version);
  return served == found->second.versions.end() ? nullptr : &served->second;
}

int64_t ModelTable::NextVersion(std::string_view id) const {
  const auto found = models_.find(id);
  return found == models_.end() ? 1 : found->second.last_version + 1;
}

ModelPointers ModelTable::Put(std::string_view id, int64_t version,
                              ServedVersion served,
                              std::optional<double> share) {
  ServedModel& model = models_[std::string(id)];
  ModelPointers leaving;
  for (auto item = model.versions.begin(); item != model.versions.end();) {
    const bool same = item->first == version;
    if (share && !same) {
      ++item;
      continue;
    }
    if (item->second.model != nullptr && item->second.model != served.model) {
      leaving.push_back(item->second.model);
    }
    item = model.versions.erase(item);
  }
  model.last_version = std::max(model.last_version, version);
  served.traffic_share = share.value_or(1);
  if (!HasShare(model, version) && served.traffic_share > 0) {
    served.traffic_share = 1;
  }
  Scale(model, version, 1 - served.traffic_share);
  model.versions.insert_or_assign(version, std::move(served));
  return leaving;
}

void ModelTable::PutBack(std::string_view id, int64_t last_version,
                         int64_t version, ServedVersion served) {
  ServedModel& model = models_[std::string(id)];
  model.last_version = std::max({model.last_version, last_version, version});
  model.versions.insert_or_assign(version, std::move(served));
}

absl::StatusOr<ModelPointers> ModelTable::Remove(
    std::string_view id, std::optional<int64_t> version) {
  const auto found = models_.find(id);
  if (found == models_.end()) return NotLoaded(id);
  ServedModel& model = found->second;
  if (version && !model.versions.contains(*version)) {
    return Find(id, version, 0).status();
  }
  ModelPointers leaving;
  for (const auto& [number, served] : model.versions) {
    if (version && number != *version) continue;
    if (served.model != nullptr) leaving.push_back(served.model);
  }
  if (version) model.versions.erase(*version);
  if (!version || model.versions.empty()) {
    models_.erase(found);
  } else {
    Scale(model, std::nullopt, 1);
  }
  return leaving;
}

size_t ModelTable::failed() const {
  size_t count = 0;
  for (const auto& [id, model] : models_) {
    for (const auto& [version, served] : model.versions) {
      count += served.model == nullptr;
    }
  }
  return count;
}

std::vector<ModelState> ModelTable::State() const {
  std::vector<ModelState> state;
  for (const auto& [id, model] : models_) {
    ModelState& entry = state.emplace_back();
    entry.id = id;
    entry.last_version = model.last_version;
    for (const auto& [version, served] : model.versions) {
      entry.versions.push_back({.version = version,
                                .source = served.source,
                                .traffic_share = served.traffic_share,
                                .shadow_rate = served.shadow_rate});
    }
  }
  return state;
}

absl::Status ModelTable::NotLoaded(std::string_view id) const {
  std::string names;
  for (const auto& [name, model] : models_) {
    if (std::none_of(
            model.versions.begin(), model.versions.end(),
            [](const auto& item) { return item.second.model != nullptr; })) {
      continue;
    }
    names += names.empty() ? "; loaded are: " : ", ";
    names += name;
  }
  if (names.empty()) names = "; no model is loaded";
  return absl::NotFoundError(StrCat("model '", id, "' is not loaded", names));
}

}  // namespace octet::serving
