#include "server/serving/model_registry.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/time/time.h"
#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/serving/split_mix.h"
#include "server/serving/state_file.h"
#include "spdlog/spdlog.h"

namespace octet::serving {
namespace {

using model::StrCat;

absl::Status WithOthers(const absl::Status& first, size_t failed) {
  if (failed < 2) return first;
  return {first.code(), std::string(first.message()) + " (and " +
                            std::to_string(failed - 1) + " more)"};
}

absl::Status Check(const LoadOptions& options) {
  if (options.version < 0) {
    return absl::InvalidArgumentError(StrCat("version: is ", options.version,
                                             "; leave it out, or start at 1"));
  }
  if (const auto share = options.traffic_share;
      share && !(*share >= 0 && *share <= 1)) {
    return absl::InvalidArgumentError(
        StrCat("traffic_share: is ", *share, "; it must be from 0 to 1"));
  }
  if (!(options.shadow_rate >= 0 && options.shadow_rate <= 1)) {
    return absl::InvalidArgumentError(StrCat(
        "shadow_rate: is ", options.shadow_rate, "; it must be from 0 to 1"));
  }
  return absl::OkStatus();
}

// Of a version that is loaded and not read again.
absl::Status CheckShadow(double asked, double now) {
  if (asked == 0 || asked == now) return absl::OkStatus();
  return absl::FailedPreconditionError(
      StrCat("shadow_rate: is ", asked, "; the version is loaded with ", now,
             ": unload it first, or load another version"));
}

std::vector<telemetry::VersionDescription> Describe(const ModelTable& table) {
  std::vector<telemetry::VersionDescription> versions;
  for (const auto& [id, model] : table.models()) {
    for (const auto& [version, served] : model.versions) {
      if (served.model == nullptr) continue;
      versions.push_back({.model = id,
                          .version = version,
                          .source = served.source,
                          .traffic_share = served.traffic_share});
    }
  }
  return versions;
}

}  // namespace

ModelRegistry::Loading::Loading(ModelRegistry& registry, std::string_view id,
                                std::string_view source,
                                const LoadOptions& options)
    : registry_(registry), id_(id), source_(source), options_(options) {
  const std::scoped_lock lock(registry_.mutex_);
  at_ = registry_.loading_.insert(
      registry_.loading_.end(),
      {.id = id_,
       .version = options.version,
       .source = source_,
       .state = VersionInfo::State::kLoading,
       .traffic_share = options.traffic_share.value_or(1)});
}

ModelRegistry::Loading::~Loading() {
  const std::scoped_lock lock(registry_.mutex_);
  registry_.loading_.erase(at_);
}

ModelRegistry::ModelRegistry(const bundle::DirectoryStore* checkpoints,
                             const bundle::DirectoryStore* bundles,
                             std::filesystem::path state_file,
                             telemetry::Metrics* metrics, uint64_t seed)
    : reader_(checkpoints, bundles),
      state_file_(std::move(state_file)),
      metrics_(metrics),
      seed_(seed) {}

std::shared_ptr<const LoadedModel> ModelRegistry::Make(
    std::string_view id, std::string_view source, int64_t version,
    PreparedModel& loaded) const {
  return departures_.Track(std::make_unique<const LoadedModel>(
      std::string(id), std::string(source), version, std::move(loaded.model),
      metrics_, std::move(loaded.watch), watcher_));
}

void ModelRegistry::DescribeChanges(const ModelTable& table) const {
  for (const auto& [id, model] : table.models()) {
    const auto description = table.Describe(id);
    if (!description || description == table_.Describe(id)) continue;
    metrics_->ModelLoaded(id, *description);
  }
}

void ModelRegistry::AddSeries(const LoadedModel& loaded) const {
  if (metrics_ == nullptr || watcher_ == nullptr) return;
  telemetry::WatchDescription watch;
  watch.shadow = loaded.watch().reference != nullptr;
  for (const auto& [layer, limits] : loaded.watch().limits) {
    watch.layer_kinds.push_back(limits.kind);
  }
  metrics_->ModelWatched(loaded.id(), watch);
}

absl::StatusOr<bool> ModelRegistry::IsLoaded(const ModelTable& table,
                                             std::string_view id,
                                             std::string_view source,
                                             int64_t version) const {
  const ServedVersion* const served = table.Get(id, version);
  if (served == nullptr || served->model == nullptr) return false;
  if (served->source == source) return true;
  return absl::AlreadyExistsError(
      StrCat("version ", version, " of model '", id, "' is loaded from '",
             served->source, "'; unload it, or load another version"));
}

absl::StatusOr<std::shared_ptr<const LoadedModel>> ModelRegistry::Load(
    std::string_view id, std::string_view source, const LoadOptions& options) {
  ASSIGN_OR_RETURN(const auto loading, BeginLoad(id, source, options));
  return Load(*loading);
}

absl::StatusOr<std::unique_ptr<const ModelRegistry::Loading>>
ModelRegistry::BeginLoad(std::string_view id, std::string_view source,
                         const LoadOptions& options) {
  RETURN_IF_ERROR(bundle::ValidateId("model_id", id));
  RETURN_IF_ERROR(Check(options));
  return std::unique_ptr<const Loading>(
      new Loading(*this, id, source, options));
}

absl::StatusOr<std::shared_ptr<const LoadedModel>> ModelRegistry::Load(
    const Loading& loading) {
  const std::string& id = loading.id_;
  const std::string& source = loading.source_;
  const LoadOptions& options = loading.options_;
  ASSIGN_OR_RETURN(bool is_loaded,
                   IsLoaded(Snapshot(), id, source, options.version));
  PreparedModel loaded;
  if (!is_loaded) {
    ASSIGN_OR_RETURN(loaded, reader_.Read(source, bundle::Verify::kDigests));
    RETURN_IF_ERROR(reader_.AddReference(options.shadow_rate, loaded));
  }

  const std::scoped_lock writer(writer_);
  ModelTable table = Snapshot();
  // Other loads and unloads may have been faster.
  const bool was_loaded = is_loaded;
  ASSIGN_OR_RETURN(is_loaded, IsLoaded(table, id, source, options.version));
  if (was_loaded && !is_loaded) {
    return absl::AbortedError(StrCat("version ", options.version, " of model '",
                                     id, "' was unloaded meanwhile"));
  }
  ServedVersion served;
  const int64_t version =
      options.version == 0 ? table.NextVersion(id) : options.version;
  if (is_loaded) {
    served = *table.Get(id, version);
    RETURN_IF_ERROR(CheckShadow(options.shadow_rate, served.shadow_rate));
  } else {
    served.source = source;
    served.shadow_rate = options.shadow_rate;
    served.model = Make(id, source, version, loaded);
    served.description = std::move(loaded.description);
  }
  std::shared_ptr<const LoadedModel> model = served.model;
  const ModelPointers leaving =
      table.Put(id, version, std::move(served), options.traffic_share);
  RETURN_IF_ERROR(SaveState(state_file_, table.State()));
  if (!is_loaded) AddSeries(*model);
  for (const auto& left : leaving) departures_.Begin(left);
  Publish(std::move(table));
  return model;
}

absl::Status ModelRegistry::Unload(std::string_view id,
                                   std::optional<int64_t> version) {
  const std::scoped_lock writer(writer_);
  ModelTable table = Snapshot();
  ASSIGN_OR_RETURN(const ModelPointers leaving, table.Remove(id, version));
  // A full disk keeps nobody from freeing memory and then the disk. The next
  // change is saved with this one; a restart before that loads it again.
  if (const absl::Status saved = SaveState(state_file_, table.State());
      !saved.ok()) {
    spdlog::warn("unloading '{}' could not be saved: {}", std::string(id),
                 std::string(saved.message()));
  }
  const bool gone = !table.models().contains(id);
  for (const auto& left : leaving) departures_.Begin(left);
  Publish(std::move(table));
  if (gone && watcher_ != nullptr) watcher_->captures().Unloaded(id);
  if (gone && metrics_ != nullptr) metrics_->ModelUnloaded(id);
  return absl::OkStatus();
}

absl::Status ModelRegistry::AwaitUnloaded(
    std::string_view id, std::optional<int64_t> version, absl::Time deadline,
    const std::function<bool()>& cancelled) const {
  if (departures_.Await(id, version, deadline, cancelled)) {
    return absl::OkStatus();
  }
  if (cancelled && cancelled()) {
    return absl::CancelledError("cancelled while requests still used it");
  }
  std::string versions;
  for (const auto& left : departures_.List()) {
    if (left.id != id || (version && left.version != *version)) continue;
    versions += versions.empty() ? "" : ", ";
    versions += std::to_string(left.version);
  }
  return absl::DeadlineExceededError(
      StrCat("model '", id,
             "' takes no new requests, but admitted ones still "
             "use version ",
             versions, "; its memory is freed after the last"));
}

absl::StatusOr<std::shared_ptr<const LoadedModel>> ModelRegistry::Find(
    std::string_view id, std::optional<int64_t> version) const {
  const std::shared_lock lock(mutex_);
  const bool draws = !version && table_.IsSplit(id);
  return table_.Find(id, version, draws ? Draw() : 0);
}

absl::StatusOr<std::shared_ptr<const LoadedModel>> ModelRegistry::FindReady(
    std::string_view id, std::optional<int64_t> version) const {
  const std::shared_lock lock(mutex_);
  auto found = table_.Find(id, version, 0);
  return version || !found.ok() ? found : table_.Primary(id);
}

absl::StatusOr<std::shared_ptr<const LoadedModel>> ModelRegistry::FindPrimary(
    std::string_view id, std::optional<int64_t> version) const {
  const std::shared_lock lock(mutex_);
  return version ? table_.Find(id, version, 0) : table_.Primary(id);
}

std::vector<std::shared_ptr<const LoadedModel>> ModelRegistry::List() const {
  std::vector<std::shared_ptr<const LoadedModel>> models;
  for (VersionInfo& info : ListVersions()) {
    if (info.model != nullptr) models.push_back(std::move(info.model));
  }
  return models;
}

std::vector<VersionInfo> ModelRegistry::ListVersions() const {
  std::vector<VersionInfo> list;
  {
    const std::shared_lock lock(mutex_);
    list.assign(loading_.begin(), loading_.end());
    for (const auto& [id, model] : table_.models()) {
      for (const auto& [version, served] : model.versions) {
        const bool failed = served.model == nullptr;
        list.push_back({.id = id,
                        .version = version,
                        .source = served.source,
                        .state = failed ? VersionInfo::State::kFailed
                                        : VersionInfo::State::kReady,
                        .traffic_share = served.traffic_share,
                        .error = served.error,
                        .model = served.model});
      }
    }
  }
  for (Departures::Leaving& left : departures_.List()) {
    list.push_back({.id = std::move(left.id),
                    .version = left.version,
                    .source = std::move(left.source),
                    .state = VersionInfo::State::kUnloading});
  }
  std::stable_sort(list.begin(), list.end(), [](const auto& a, const auto& b) {
    return std::tie(a.id, a.version) < std::tie(b.id, b.version);
  });
  return list;
}

bool ModelRegistry::Uses(std::string_view source) const {
  const std::vector<VersionInfo> versions = ListVersions();
  return std::any_of(versions.begin(), versions.end(),
                     [&](const VersionInfo& version) {
                       return version.source == source &&
                              (version.state == VersionInfo::State::kReady ||
                               version.state == VersionInfo::State::kLoading);
                     });
}

absl::Status ModelRegistry::Restore() {
  ASSIGN_OR_RETURN(const std::vector<ModelState> state, LoadState(state_file_));
  const std::scoped_lock writer(writer_);
  ModelTable table = Snapshot();
  absl::Status first;
  for (const ModelState& model : state) {
    for (const VersionState& version : model.versions) {
      ServedVersion served{.source = version.source,
                           .traffic_share = version.traffic_share,
                           .shadow_rate = version.shadow_rate};
      // Its digests were checked when it was loaded first, and a published
      // directory never changes: a restart reads each byte once, not twice.
      absl::StatusOr<PreparedModel> loaded =
          reader_.Read(version.source, bundle::Verify::kSizes);
      if (loaded.ok()) {
        // It is served without its reference rather than not at all.
        first.Update(reader_.AddReference(version.shadow_rate, *loaded));
        served.model = Make(model.id, version.source, version.version, *loaded);
        served.description = std::move(loaded->description);
        AddSeries(*served.model);
      } else {
        served.error = loaded.status();
        first.Update({served.error.code(),
                      StrCat("model '", model.id, "' from '", version.source,
                             "': ", served.error.message())});
      }
      table.PutBack(model.id, model.last_version, version.version,
                    std::move(served));
    }
  }
  const size_t failed = table.failed();
  Publish(std::move(table));
  return WithOthers(first, failed);
}

ModelTable ModelRegistry::Snapshot() const {
  const std::shared_lock lock(mutex_);
  return table_;
}

void ModelRegistry::Publish(ModelTable table) {
  // Series first: the first request of a new model is to be seen.
  if (metrics_ != nullptr) {
    DescribeChanges(table);
    metrics_->ModelsFailed(table.failed());
    metrics_->Versions(Describe(table));
  }
  {
    const std::scoped_lock lock(mutex_);
    std::swap(table_, table);
  }
  // The old table, and with it the last hold on an old model, goes here,
  // outside of the lock that requests take.
}

double ModelRegistry::Draw() const {
  return UniformDraw(seed_, draws_.fetch_add(1, std::memory_order_relaxed));
}

}  // namespace octet::serving
