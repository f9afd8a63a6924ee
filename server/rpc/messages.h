// Between the house's types and the messages of octet.v1, where more than one
// service needs it.

#ifndef OCTET_SERVER_RPC_MESSAGES_H_
#define OCTET_SERVER_RPC_MESSAGES_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "google/protobuf/timestamp.pb.h"
#include "octet/v1/checkpoint_service.pb.h"
#include "octet/v1/inference_service.pb.h"
#include "octet/v1/quantization_service.pb.h"
#include "server/model/graph.h"
#include "server/model/scheme.h"
#include "server/rpc/calls/timings.h"

namespace octet::rpc {

google::protobuf::Timestamp ToTimestamp(absl::Time time);
google::protobuf::Duration ToDuration(absl::Duration duration);
void FillTimings(const CallTimes& times, v1::Timings* out);

v1::Scheme ToProto(model::Scheme scheme);

// `unset` stands for SCHEME_UNSPECIFIED. INVALID_ARGUMENT naming `field` for a
// number that is no scheme.
absl::StatusOr<model::Scheme> FromProto(std::string_view field,
                                        v1::Scheme scheme, model::Scheme unset);

void FillLayers(const model::Graph& graph,
                google::protobuf::RepeatedPtrField<v1::LinearLayer>* out);

// Chunks of uploads have at most this many bytes.
inline constexpr size_t kMaxChunkBytes = size_t{4} << 20;
absl::Status CheckChunk(int64_t offset, size_t bytes);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_MESSAGES_H_
