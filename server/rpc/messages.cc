#include "server/rpc/messages.h"

#include <array>
#include <string>
#include <utility>

#include "server/model/str_cat.h"
#include "server/rpc/calls/status.h"

namespace octet::rpc {
namespace {

constexpr std::array<std::pair<v1::Scheme, model::Scheme>, 6> kSchemes = {{
    {v1::SCHEME_FP32, model::Scheme::kFp32},
    {v1::SCHEME_BF16, model::Scheme::kBf16},
    {v1::SCHEME_FP16, model::Scheme::kFp16},
    {v1::SCHEME_W8A8_DYNAMIC, model::Scheme::kW8A8Dynamic},
    {v1::SCHEME_W8A8_STATIC, model::Scheme::kW8A8Static},
    {v1::SCHEME_LLM_INT8, model::Scheme::kLlmInt8},
}};

}  // namespace

google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  google::protobuf::Timestamp result;
  const int64_t nanoseconds = absl::ToUnixNanos(time);
  result.set_seconds(nanoseconds / 1'000'000'000);
  result.set_nanos(static_cast<int32_t>(nanoseconds % 1'000'000'000));
  return result;
}

google::protobuf::Duration ToDuration(absl::Duration duration) {
  google::protobuf::Duration result;
  const int64_t nanoseconds = absl::ToInt64Nanoseconds(duration);
  result.set_seconds(nanoseconds / 1'000'000'000);
  result.set_nanos(static_cast<int32_t>(nanoseconds % 1'000'000'000));
  return result;
}

void FillTimings(const CallTimes& times, v1::Timings* out) {
  const auto nanoseconds = [](uint64_t ns) {
    return ToDuration(absl::Nanoseconds(ns));
  };
  *out->mutable_queue() = ToDuration(times.queue);
  *out->mutable_quantize() = nanoseconds(times.phases.quantize_ns);
  *out->mutable_dot() = nanoseconds(times.phases.dot_ns);
  *out->mutable_dequantize() = nanoseconds(times.phases.dequantize_ns);
  *out->mutable_outlier() = nanoseconds(times.phases.outlier_ns);
  *out->mutable_total() = ToDuration(times.total);
}

v1::Scheme ToProto(model::Scheme scheme) {
  for (const auto& [wire, ours] : kSchemes) {
    if (ours == scheme) return wire;
  }
  return v1::SCHEME_UNSPECIFIED;
}

absl::StatusOr<model::Scheme> FromProto(std::string_view field,
                                        v1::Scheme scheme,
                                        model::Scheme unset) {
  if (scheme == v1::SCHEME_UNSPECIFIED) return unset;
  for (const auto& [wire, ours] : kSchemes) {
    if (wire == scheme) return ours;
  }
  return FieldViolation(
      field, model::StrCat(static_cast<int>(scheme), " is no known scheme"));
}

void FillLayers(const model::Graph& graph,
                google::protobuf::RepeatedPtrField<v1::LinearLayer>* out) {
  for (const model::Linear* linear : graph.Linears()) {
    v1::LinearLayer* layer = out->Add();
    layer->set_name(linear->layer);
    layer->set_in_features(static_cast<int64_t>(linear->in_features));
    layer->set_out_features(static_cast<int64_t>(linear->out_features));
  }
}

absl::Status CheckChunk(int64_t offset, size_t bytes) {
  if (offset < 0) {
    return absl::OutOfRangeError("chunk.offset: must not be negative");
  }
  if (bytes > kMaxChunkBytes) {
    return FieldViolation("chunk.data",
                          model::StrCat(bytes, " bytes are more than ",
                                        kMaxChunkBytes, ", the limit"));
  }
  return absl::OkStatus();
}

}  // namespace octet::rpc
