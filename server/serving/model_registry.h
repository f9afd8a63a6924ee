// The models that are served, by name and version, and what they have done.
//
// Loading over a name swaps atomically: a request holds its LoadedModel until
// it is answered. With a traffic share the new version stands beside the
// others (model_table.h). A version is found only after it answered a warm-up,
// and a load that fails changes nothing. The table of what is loaded is kept
// in one file, replaced atomically, and Restore loads it again after a restart.

#ifndef OCTET_SERVER_SERVING_MODEL_REGISTRY_H_
#define OCTET_SERVER_SERVING_MODEL_REGISTRY_H_

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "kernels/int8_linear.h"
#include "server/bundle/directory_store.h"
#include "server/serving/departures.h"
#include "server/serving/loaded_model.h"
#include "server/serving/model_reader.h"
#include "server/serving/model_table.h"
#include "server/serving/watcher.h"
#include "server/telemetry/metrics.h"

namespace octet::serving {

struct LoadOptions {
  // Its number; 0: the next one. A version that is loaded already, from the
  // same source, is not read again: only the shares change.
  int64_t version = 0;
  // In [0, 1], of the requests that name no version; the other versions stay.
  // Without it the new one takes every request and the others leave.
  std::optional<double> traffic_share = std::nullopt;
  // In [0, 1], of its requests: computed again by the checkpoint that the
  // bundle was made from, which stays in memory for that (watcher.h). Of a
  // version that is loaded already: 0, or what it has.
  double shadow_rate = 0;
};

// A version as it is listed.
struct VersionInfo {
  enum class State : uint8_t {
    kLoading,    // read and warmed up
    kReady,      // answers
    kUnloading,  // takes no new requests; old ones still use it
    kFailed,     // a restart could not load it
  };
  std::string id;
  int64_t version = 0;  // 0: not known before it is loaded
  std::string source;
  State state = State::kReady;
  double traffic_share = 0;
  absl::Status error = absl::OkStatus();               // kFailed: why
  std::shared_ptr<const LoadedModel> model = nullptr;  // kReady
};

class ModelRegistry {
 public:
  // `state_file` keeps the table. `metrics` may be nullptr. `seed` decides
  // which requests go to which version.
  ModelRegistry(const bundle::DirectoryStore* checkpoints,
                const bundle::DirectoryStore* bundles,
                std::filesystem::path state_file, telemetry::Metrics* metrics,
                uint64_t seed = 0);

  // Sees the answers of what is loaded from now on; must outlive it.
  void set_watcher(Watcher* watcher) { watcher_ = watcher; }

  // Of what is loaded from now on (model_reader.h).
  void set_int8_backend(kernels::Int8Backend backend) {
    reader_.set_int8_backend(backend);
  }

  // A load that began: while this lives, it is listed as LOADING and Uses
  // counts its source.
  class Loading {
   public:
    ~Loading();
    Loading(const Loading&) = delete;
    Loading& operator=(const Loading&) = delete;

   private:
    friend class ModelRegistry;
    Loading(ModelRegistry& registry, std::string_view id,
            std::string_view source, const LoadOptions& options);

    ModelRegistry& registry_;
    const std::string id_;
    const std::string source_;
    const LoadOptions options_;
    std::list<VersionInfo>::iterator at_;
  };

  // `source` is "bundles/{id}" or "checkpoints/{id}". What was served under
  // `id` stays when this fails. Errors: INVALID_ARGUMENT (id, source, version,
  // traffic_share), NOT_FOUND (source), DATA_LOSS (files), ALREADY_EXISTS (the
  // version is loaded from elsewhere), FAILED_PRECONDITION (another format
  // version; the model gives no answer; a shadow_rate without the float
  // checkpoint, or other than that of the version that is loaded).
  absl::StatusOr<std::shared_ptr<const LoadedModel>> Load(
      std::string_view id, std::string_view source,
      const LoadOptions& options = {});
  // Its halves, for who holds a lock: the first is done at once.
  absl::StatusOr<std::unique_ptr<const Loading>> BeginLoad(
      std::string_view id, std::string_view source,
      const LoadOptions& options = {});
  absl::StatusOr<std::shared_ptr<const LoadedModel>> Load(
      const Loading& loading);

  // From now on no request finds it. Without `version`, all of them.
  absl::Status Unload(std::string_view id,
                      std::optional<int64_t> version = std::nullopt);
  // Waits until no request uses what was unloaded any more and its memory is
  // free. DEADLINE_EXCEEDED names what is still in use; CANCELLED.
  absl::Status AwaitUnloaded(
      std::string_view id, std::optional<int64_t> version, absl::Time deadline,
      const std::function<bool()>& cancelled = nullptr) const;

  // The version to answer a request with; without `version` one is drawn by
  // the traffic shares. NOT_FOUND: "model 'x' is not loaded; loaded are: a, b",
  // and likewise for a version. FAILED_PRECONDITION when a restart could not
  // load it, or when no version has a share.
  absl::StatusOr<std::shared_ptr<const LoadedModel>> Find(
      std::string_view id, std::optional<int64_t> version = std::nullopt) const;
  // Whether Find answers, drawing nothing: what FindPrimary gives, or Find's
  // error.
  absl::StatusOr<std::shared_ptr<const LoadedModel>> FindReady(
      std::string_view id, std::optional<int64_t> version = std::nullopt) const;
  // To describe a model rather than to use it: without `version`, the one with
  // the largest share.
  absl::StatusOr<std::shared_ptr<const LoadedModel>> FindPrimary(
      std::string_view id, std::optional<int64_t> version = std::nullopt) const;

  // Those that answer, by id and version.
  std::vector<std::shared_ptr<const LoadedModel>> List() const;
  // All, by id and version, in every state.
  std::vector<VersionInfo> ListVersions() const;

  // Whether a version is loaded from `source`, or being loaded.
  bool Uses(std::string_view source) const;

  // Loads what the state file names; no file, no models. A version that fails
  // to load is skipped, stays in the file, and Find says why; the first such
  // error is returned, with the number of others. DATA_LOSS when the file
  // itself cannot be read.
  absl::Status Restore();

 private:
  void AddSeries(const LoadedModel& loaded) const;
  // Of models that are served otherwise than they were.
  void DescribeChanges(const ModelTable& table) const;
  std::shared_ptr<const LoadedModel> Make(std::string_view id,
                                          std::string_view source,
                                          int64_t version,
                                          PreparedModel& loaded) const;
  // Whether the version is there already; ALREADY_EXISTS from elsewhere.
  absl::StatusOr<bool> IsLoaded(const ModelTable& table, std::string_view id,
                                std::string_view source, int64_t version) const;

  ModelTable Snapshot() const;
  void Publish(ModelTable table);  // needs writer_
  double Draw() const;

  ModelReader reader_;
  const std::filesystem::path state_file_;
  telemetry::Metrics* const metrics_;
  Watcher* watcher_ = nullptr;
  const uint64_t seed_;
  mutable std::atomic<uint64_t> draws_ = 0;
  const Departures departures_;
  // Held while the table changes and is written; requests never wait for it.
  std::mutex writer_;  // taken before mutex_
  mutable std::shared_mutex mutex_;
  ModelTable table_;                // guarded by mutex_
  std::list<VersionInfo> loading_;  // guarded by mutex_
};

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_MODEL_REGISTRY_H_
