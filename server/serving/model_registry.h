// The models that are served, by name, and what they have done.
//
// Loading over a name swaps atomically: a request holds its LoadedModel until
// it is answered. The table of what is loaded is kept in one file, replaced
// atomically, and Restore loads it again after a restart.

#ifndef OCTET_SERVER_SERVING_MODEL_REGISTRY_H_
#define OCTET_SERVER_SERVING_MODEL_REGISTRY_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "kernels/thread_pool.h"
#include "server/bundle/directory_store.h"
#include "server/model/model.h"
#include "server/telemetry/metrics.h"

namespace octet::serving {

struct ModelStats {
  int64_t forward_count = 0;
  int64_t matmul_count = 0;
  int64_t row_count = 0;
  kernels::PhaseTimes times;
};

// One loaded version of one model.
class LoadedModel {
 public:
  LoadedModel(std::string id, std::string source, int64_t version,
              std::unique_ptr<const model::Model> model,
              telemetry::Metrics* metrics);

  const std::string& id() const { return id_; }
  const std::string& source() const { return source_; }  // "bundles/x"
  int64_t version() const { return version_; }
  absl::Time load_time() const { return load_time_; }
  const model::Model& model() const { return *model_; }
  std::string isa() const;  // of its INT8 layers; "" without any

  // Runs, counts, and exports the phase times. `times` receives their sum.
  absl::StatusOr<model::ModelOutput> Forward(const model::ModelInput& input,
                                             model::RunOptions options,
                                             kernels::PhaseTimes* times) const;
  // x [M, K] -> y [M, N]. NOT_FOUND names the layer; INVALID_ARGUMENT a width
  // or the index of a non-finite value.
  absl::StatusOr<model::ModelOutput> MatMul(std::string_view layer,
                                            kernels::MatrixView<const float> x,
                                            kernels::ThreadPool* pool,
                                            kernels::PhaseTimes* times) const;

  ModelStats stats() const;

 private:
  void Count(const ModelStats& delta) const;

  const std::string id_;
  const std::string source_;
  const int64_t version_;
  const absl::Time load_time_;
  const std::unique_ptr<const model::Model> model_;
  telemetry::Metrics* const metrics_;
  mutable absl::Mutex mutex_;
  mutable ModelStats stats_ ABSL_GUARDED_BY(mutex_);
};

class ModelRegistry {
 public:
  // `state_file` keeps the table. `metrics` may be nullptr.
  ModelRegistry(const bundle::DirectoryStore* checkpoints,
                const bundle::DirectoryStore* bundles,
                std::filesystem::path state_file, telemetry::Metrics* metrics);

  // `source` is "bundles/{id}" or "checkpoints/{id}".
  absl::StatusOr<std::shared_ptr<const LoadedModel>> Load(
      std::string_view id, std::string_view source);
  absl::Status Unload(std::string_view id);

  // NOT_FOUND: "model 'x' is not loaded; loaded are: a, b".
  absl::StatusOr<std::shared_ptr<const LoadedModel>> Find(
      std::string_view id) const;
  std::vector<std::shared_ptr<const LoadedModel>> List() const;  // by id

  // Whether a loaded model came from `source`.
  bool Uses(std::string_view source) const;

  // Loads what the state file names. A model that fails to load is reported
  // and skipped, and stays in the file; the first such error is returned.
  absl::Status Restore();

 private:
  absl::Status SaveLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  struct Entry {
    std::string source;
    int64_t version = 0;
    std::shared_ptr<const LoadedModel> model;  // nullptr: failed to load
  };

  const bundle::DirectoryStore* const checkpoints_;
  const bundle::DirectoryStore* const bundles_;
  const std::filesystem::path state_file_;
  telemetry::Metrics* const metrics_;
  mutable absl::Mutex mutex_;
  std::map<std::string, Entry, std::less<>> entries_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_MODEL_REGISTRY_H_
