#include "server/rpc/calls/timings.h"

#include <array>
#include <cstdio>

namespace octet::rpc {

std::string ServerTiming(const CallTimes& times) {
  constexpr double kMillisecond = 1e-6;  // of nanoseconds
  const auto of = [](uint64_t ns) {
    return static_cast<double>(ns) * kMillisecond;
  };
  std::array<char, 256> line{};
  const int size = std::snprintf(
      line.data(), line.size(),
      "queue;dur=%.3f, quantize;dur=%.3f, dot;dur=%.3f, dequantize;dur=%.3f, "
      "outlier;dur=%.3f, total;dur=%.3f",
      absl::ToDoubleMilliseconds(times.queue), of(times.phases.quantize_ns),
      of(times.phases.dot_ns), of(times.phases.dequantize_ns),
      of(times.phases.outlier_ns), absl::ToDoubleMilliseconds(times.total));
  return {line.data(), static_cast<size_t>(size)};
}

void AddServerTiming(const CallTimes& times,
                     grpc::CallbackServerContext* context) {
  context->AddTrailingMetadata(kServerTiming, ServerTiming(times));
}

}  // namespace octet::rpc
