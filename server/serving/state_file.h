// The table of served models on disk, which a restart loads again:
//   {"format_version": 1,
//    "models": [{"id": "x", "source": "bundles/x", "version": 3}]}

#ifndef OCTET_SERVER_SERVING_STATE_FILE_H_
#define OCTET_SERVER_SERVING_STATE_FILE_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace octet::serving {

struct ServedModel {
  std::string id;
  std::string source;
  int64_t version = 0;

  friend bool operator==(const ServedModel&, const ServedModel&) = default;
};

// Replaces the file atomically.
absl::Status SaveState(const std::filesystem::path& file,
                       const std::vector<ServedModel>& models);

// Empty when there is no file; DATA_LOSS naming what is wrong in it.
absl::StatusOr<std::vector<ServedModel>> LoadState(
    const std::filesystem::path& file);

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_STATE_FILE_H_
