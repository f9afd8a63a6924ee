// Resource names: "checkpoints/{id}", "models/{id}/versions/{number}".

#ifndef OCTET_SERVER_RPC_RESOURCES_RESOURCE_NAMES_H_
#define OCTET_SERVER_RPC_RESOURCES_RESOURCE_NAMES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace octet::rpc {

inline constexpr std::string_view kCheckpoints = "checkpoints";
inline constexpr std::string_view kCalibrations = "calibrations";
inline constexpr std::string_view kBundles = "bundles";
inline constexpr std::string_view kOperations = "operations";
inline constexpr std::string_view kModels = "models";

std::string ResourceName(std::string_view collection, std::string_view id);

// The id in "checkpoints/{id}". INVALID_ARGUMENT naming `field` otherwise.
absl::StatusOr<std::string> ParseName(std::string_view field,
                                      std::string_view collection,
                                      std::string_view name);

// "models/{id}", or one version of it, "models/{id}/versions/{number}".
struct ModelName {
  std::string id;
  std::optional<int64_t> version;
};
absl::StatusOr<ModelName> ParseModelName(std::string_view field,
                                         std::string_view name);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_RESOURCES_RESOURCE_NAMES_H_
