#include "server/serving/model_registry.h"

#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "kernels/status_macros.h"
#include "server/serving/describe_model.h"
#include "server/serving/state_file.h"

namespace octet::serving {
namespace {

constexpr std::string_view kBundles = "bundles/";
constexpr std::string_view kCheckpoints = "checkpoints/";

template <typename Entries>
std::string LoadedNames(const Entries& entries) {
  std::string names;
  for (const auto& [id, entry] : entries) {
    if (entry.model == nullptr) continue;
    names += names.empty() ? "; loaded are: " : ", ";
    names += id;
  }
  return names.empty() ? "; no model is loaded" : names;
}

template <typename Entries>
std::vector<ServedModel> State(const Entries& entries) {
  std::vector<ServedModel> models;
  for (const auto& [id, entry] : entries) {
    models.push_back(
        {.id = id, .source = entry.source, .version = entry.version});
  }
  return models;
}

template <typename Entries>
size_t Failed(const Entries& entries) {
  size_t failed = 0;
  for (const auto& [id, entry] : entries) failed += entry.model == nullptr;
  return failed;
}

absl::Status WithOthers(const absl::Status& first, size_t failed) {
  if (failed < 2) return first;
  return {first.code(), std::string(first.message()) + " (and " +
                            std::to_string(failed - 1) + " more)"};
}

}  // namespace

ModelRegistry::ModelRegistry(const bundle::DirectoryStore* checkpoints,
                             const bundle::DirectoryStore* bundles,
                             std::filesystem::path state_file,
                             telemetry::Metrics* metrics)
    : checkpoints_(checkpoints),
      bundles_(bundles),
      state_file_(std::move(state_file)),
      metrics_(metrics) {}

absl::StatusOr<ModelRegistry::Loaded> ModelRegistry::Read(
    std::string_view source, bundle::Verify verify) const {
  const absl::Time start = absl::Now();
  Loaded loaded;
  if (source.starts_with(kBundles)) {
    ASSIGN_OR_RETURN(const std::filesystem::path directory,
                     bundles_->Find(source.substr(kBundles.size())));
    ASSIGN_OR_RETURN(const bundle::Bundle opened,
                     bundle::OpenBundle(directory, verify));
    ASSIGN_OR_RETURN(loaded.model, bundle::LoadModel(opened));
    loaded.description = Describe(*loaded.model, *opened.files.tensors);
  } else if (source.starts_with(kCheckpoints)) {
    ASSIGN_OR_RETURN(const std::filesystem::path directory,
                     checkpoints_->Find(source.substr(kCheckpoints.size())));
    ASSIGN_OR_RETURN(const bundle::ModelFiles opened,
                     bundle::OpenCheckpoint(directory));
    ASSIGN_OR_RETURN(loaded.model, bundle::LoadFloatModel(opened));
    loaded.description = Describe(*loaded.model, *opened.tensors);
  } else {
    return absl::InvalidArgumentError(
        "source: '" + std::string(source) +
        "' is neither 'bundles/{id}' nor 'checkpoints/{id}'");
  }
  loaded.description.load_seconds = absl::ToDoubleSeconds(absl::Now() - start);
  return loaded;
}

absl::StatusOr<std::shared_ptr<const LoadedModel>> ModelRegistry::Load(
    std::string_view id, std::string_view source) {
  RETURN_IF_ERROR(bundle::ValidateId("model_id", id));
  ASSIGN_OR_RETURN(Loaded loaded, Read(source, bundle::Verify::kDigests));

  std::lock_guard writer(writer_);
  Entries entries = Snapshot();
  Entry& entry = entries[std::string(id)];
  entry.source = std::string(source);
  ++entry.version;
  entry.error = absl::OkStatus();
  entry.model = std::make_shared<const LoadedModel>(
      std::string(id), entry.source, entry.version, std::move(loaded.model),
      metrics_);
  std::shared_ptr<const LoadedModel> model = entry.model;
  RETURN_IF_ERROR(SaveState(state_file_, State(entries)));
  // Series first: the first request of a new model is to be seen.
  if (metrics_ != nullptr) metrics_->ModelLoaded(id, loaded.description);
  Publish(std::move(entries));
  return model;
}

absl::Status ModelRegistry::Unload(std::string_view id) {
  std::lock_guard writer(writer_);
  Entries entries = Snapshot();
  const auto found = entries.find(id);
  if (found == entries.end()) return Find(id).status();
  entries.erase(found);
  RETURN_IF_ERROR(SaveState(state_file_, State(entries)));
  Publish(std::move(entries));
  if (metrics_ != nullptr) metrics_->ModelUnloaded(id);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const LoadedModel>> ModelRegistry::Find(
    std::string_view id) const {
  std::shared_lock lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) {
    return absl::NotFoundError("model '" + std::string(id) + "' is not loaded" +
                               LoadedNames(entries_));
  }
  if (found->second.model == nullptr) {
    return absl::FailedPreconditionError(
        "model '" + std::string(id) + "' could not be loaded from '" +
        found->second.source + "' when the server started: " +
        std::string(found->second.error.message()));
  }
  return found->second.model;
}

std::vector<std::shared_ptr<const LoadedModel>> ModelRegistry::List() const {
  std::shared_lock lock(mutex_);
  std::vector<std::shared_ptr<const LoadedModel>> models;
  for (const auto& [id, entry] : entries_) {
    if (entry.model != nullptr) models.push_back(entry.model);
  }
  return models;
}

bool ModelRegistry::Uses(std::string_view source) const {
  std::shared_lock lock(mutex_);
  for (const auto& [id, entry] : entries_) {
    if (entry.model != nullptr && entry.source == source) return true;
  }
  return false;
}

absl::Status ModelRegistry::Restore() {
  ASSIGN_OR_RETURN(const std::vector<ServedModel> state,
                   LoadState(state_file_));
  std::lock_guard writer(writer_);
  Entries entries = Snapshot();
  absl::Status first;
  size_t failed = 0;
  for (const ServedModel& served : state) {
    // Its digests were checked when it was loaded first, and a published
    // directory never changes: a restart reads each byte once, not twice.
    absl::StatusOr<Loaded> loaded = Read(served.source, bundle::Verify::kSizes);
    Entry entry;
    entry.source = served.source;
    entry.version = served.version;
    if (loaded.ok()) {
      entry.model = std::make_shared<const LoadedModel>(
          served.id, served.source, served.version, std::move(loaded->model),
          metrics_);
      if (metrics_ != nullptr) {
        metrics_->ModelLoaded(served.id, loaded->description);
      }
    } else {
      entry.error = loaded.status();
      first.Update({entry.error.code(),
                    "model '" + served.id + "' from '" + served.source +
                        "': " + std::string(entry.error.message())});
      ++failed;
    }
    entries.insert_or_assign(served.id, std::move(entry));
  }
  Publish(std::move(entries));
  return WithOthers(first, failed);
}

ModelRegistry::Entries ModelRegistry::Snapshot() const {
  std::shared_lock lock(mutex_);
  return entries_;
}

void ModelRegistry::Publish(Entries entries) {
  if (metrics_ != nullptr) metrics_->ModelsFailed(Failed(entries));
  {
    std::lock_guard lock(mutex_);
    entries_.swap(entries);
  }
  // The old table, and with it the last hold on an old model, goes here,
  // outside of the lock that requests take.
}

}  // namespace octet::serving
