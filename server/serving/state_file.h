// The table of served models on disk, which a restart loads again:
//   {"format_version": 2,
//    "models": [{"id": "x", "last_version": 3,
//                "versions": [{"version": 3, "source": "bundles/x",
//                              "traffic_share": 1.0, "shadow_rate": 0}]}]}
//
// Format 1, which had one version of each model ("id", "source", "version"),
// is read too.

#ifndef OCTET_SERVER_SERVING_STATE_FILE_H_
#define OCTET_SERVER_SERVING_STATE_FILE_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace octet::serving {

struct VersionState {
  int64_t version = 0;
  std::string source;
  double traffic_share = 1;
  double shadow_rate = 0;

  friend bool operator==(const VersionState&, const VersionState&) = default;
};

struct ModelState {
  std::string id;
  int64_t last_version = 0;  // the highest it ever had
  std::vector<VersionState> versions;

  friend bool operator==(const ModelState&, const ModelState&) = default;
};

// Replaces the file atomically.
absl::Status SaveState(const std::filesystem::path& file,
                       const std::vector<ModelState>& models);

// Empty when there is no file; DATA_LOSS naming what is wrong in it.
absl::StatusOr<std::vector<ModelState>> LoadState(
    const std::filesystem::path& file);

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_STATE_FILE_H_
