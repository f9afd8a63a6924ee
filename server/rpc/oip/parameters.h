// Parameters of requests and of their tensors.

#ifndef OCTET_SERVER_RPC_OIP_PARAMETERS_H_
#define OCTET_SERVER_RPC_OIP_PARAMETERS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "google/protobuf/map.h"
#include "inference/grpc_service.pb.h"
#include "server/rpc/oip/shared_memory.h"

namespace octet::rpc::oip {

using Parameters =
    google::protobuf::Map<std::string, inference::InferParameter>;

inline constexpr char kRegion[] = "shared_memory_region";
inline constexpr char kByteSize[] = "shared_memory_byte_size";
inline constexpr char kOffset[] = "shared_memory_offset";

// A parameter that is a number, of either type; std::nullopt when there is
// none. INVALID_ARGUMENT when it is no number, or negative.
absl::StatusOr<std::optional<uint64_t>> NumberOf(const Parameters& parameters,
                                                 std::string_view key);

// Where a tensor is, or is wanted, in shared memory.
struct RegionPart {
  std::string name;
  SharedMemory::RegionPtr region;  // nullptr: in the message
  uint64_t offset = 0;
  uint64_t byte_size = 0;
};

// The part lies in the region. INVALID_ARGUMENT, NOT_FOUND (region).
absl::StatusOr<RegionPart> RegionOf(const Parameters& parameters,
                                    const SharedMemory& memory);

}  // namespace octet::rpc::oip

#endif  // OCTET_SERVER_RPC_OIP_PARAMETERS_H_
