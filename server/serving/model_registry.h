// The models that are served, by name, and what they have done.
//
// Loading over a name swaps atomically: a request holds its LoadedModel until
// it is answered. The table of what is loaded is kept in one file, replaced
// atomically, and Restore loads it again after a restart.

#ifndef OCTET_SERVER_SERVING_MODEL_REGISTRY_H_
#define OCTET_SERVER_SERVING_MODEL_REGISTRY_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/bundle/bundle.h"
#include "server/bundle/directory_store.h"
#include "server/serving/loaded_model.h"
#include "server/telemetry/metrics.h"

namespace octet::serving {

class ModelRegistry {
 public:
  // `state_file` keeps the table. `metrics` may be nullptr.
  ModelRegistry(const bundle::DirectoryStore* checkpoints,
                const bundle::DirectoryStore* bundles,
                std::filesystem::path state_file, telemetry::Metrics* metrics);

  // `source` is "bundles/{id}" or "checkpoints/{id}". What was served under
  // `id` stays when this fails. Errors: INVALID_ARGUMENT (id, source, files),
  // NOT_FOUND (source), DATA_LOSS (a file's digest).
  absl::StatusOr<std::shared_ptr<const LoadedModel>> Load(
      std::string_view id, std::string_view source);
  absl::Status Unload(std::string_view id);

  // NOT_FOUND: "model 'x' is not loaded; loaded are: a, b". FAILED_PRECONDITION
  // when a restart could not load it.
  absl::StatusOr<std::shared_ptr<const LoadedModel>> Find(
      std::string_view id) const;
  std::vector<std::shared_ptr<const LoadedModel>> List() const;  // by id

  // Whether a loaded model came from `source`.
  bool Uses(std::string_view source) const;

  // Loads what the state file names; no file, no models. A model that fails
  // to load is skipped, stays in the file, and Find says why; the first such
  // error is returned, with the number of others. DATA_LOSS when the file
  // itself cannot be read.
  absl::Status Restore();

 private:
  struct Entry {
    std::string source;
    int64_t version = 0;
    std::shared_ptr<const LoadedModel> model;  // nullptr: failed to load
    absl::Status error;                        // why
  };
  using Entries = std::map<std::string, Entry, std::less<>>;

  // A model ready to be served, and what is exported of it.
  struct Loaded {
    std::unique_ptr<const model::Model> model;
    telemetry::ModelDescription description;
  };
  absl::StatusOr<Loaded> Read(std::string_view source,
                              bundle::Verify verify) const;

  Entries Snapshot() const;
  void Publish(Entries entries);  // needs writer_

  const bundle::DirectoryStore* const checkpoints_;
  const bundle::DirectoryStore* const bundles_;
  const std::filesystem::path state_file_;
  telemetry::Metrics* const metrics_;
  // Held while the table changes and is written; requests never wait for it.
  std::mutex writer_;  // taken before mutex_
  mutable std::shared_mutex mutex_;
  Entries entries_;  // guarded by mutex_
};

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_MODEL_REGISTRY_H_
