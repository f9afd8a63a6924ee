// Which versions of which models are served, as a value: whoever changes it
// changes a copy.
//
// Each version of a model has a share of the requests that name no version.
// The shares of a model add up to 1, or are all 0:
//
//   v is put with share s    share[v] = s, the others are scaled to 1 - s
//   v is taken away          the others are scaled to 1
//
// where others whose shares are all 0 stay so, and v has 1 if its s is not 0.

#ifndef OCTET_SERVER_SERVING_MODEL_TABLE_H_
#define OCTET_SERVER_SERVING_MODEL_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/serving/loaded_model.h"
#include "server/serving/state_file.h"
#include "server/telemetry/metrics.h"

namespace octet::serving {

struct ServedVersion {
  std::string source;
  double traffic_share = 0;
  double shadow_rate = 0;
  std::shared_ptr<const LoadedModel> model = nullptr;  // failed to load
  absl::Status error = absl::OkStatus();               // why
  telemetry::ModelDescription description = {};
};

struct ServedModel {
  int64_t last_version = 0;  // the highest it ever had
  std::map<int64_t, ServedVersion> versions;
};

using ModelPointers = std::vector<std::shared_ptr<const LoadedModel>>;

class ModelTable {
 public:
  // `draw`, in [0, 1), decides for a request that names no version. Errors are
  // those of ModelRegistry::Find.
  absl::StatusOr<std::shared_ptr<const LoadedModel>> Find(
      std::string_view id, std::optional<int64_t> version, double draw) const;
  // Whether a draw has something to decide.
  bool IsSplit(std::string_view id) const;
  // The version with the largest share, the newest of equals.
  absl::StatusOr<std::shared_ptr<const LoadedModel>> Primary(
      std::string_view id) const;
  // What is exported of a model: the description of that version, but for the
  // resident bytes, which are of all versions. None that could be loaded: none.
  std::optional<telemetry::ModelDescription> Describe(
      std::string_view id) const;

  // nullptr when there is none.
  const ServedVersion* Get(std::string_view id, int64_t version) const;
  int64_t NextVersion(std::string_view id) const;

  // Adds or replaces a version. Without `share` it takes every request, and
  // the others are removed. Returns the models that serve no more.
  ModelPointers Put(std::string_view id, int64_t version, ServedVersion served,
                    std::optional<double> share);
  // As it stood in the state file.
  void PutBack(std::string_view id, int64_t last_version, int64_t version,
               ServedVersion served);
  // NOT_FOUND as Find says it. Without `version`, all of them.
  absl::StatusOr<ModelPointers> Remove(std::string_view id,
                                       std::optional<int64_t> version);

  size_t failed() const;  // versions
  std::vector<ModelState> State() const;
  const std::map<std::string, ServedModel, std::less<>>& models() const {
    return models_;
  }

 private:
  absl::Status NotLoaded(std::string_view id) const;

  std::map<std::string, ServedModel, std::less<>> models_;
};

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_MODEL_TABLE_H_
