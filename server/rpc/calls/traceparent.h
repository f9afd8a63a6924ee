// W3C Trace Context, the `traceparent` header
// (https://www.w3.org/TR/trace-context/):
//
//   00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
//   version, trace id, the caller's span, flags; lower-case hexadecimal
//
// A call is one span: it keeps the caller's trace id and flags and has a span
// id of its own, which is also the id of the request in the log.

#ifndef OCTET_SERVER_RPC_CALLS_TRACEPARENT_H_
#define OCTET_SERVER_RPC_CALLS_TRACEPARENT_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace octet::rpc {

struct TraceContext {
  std::array<uint64_t, 2> trace_id{};  // not both 0
  uint64_t span_id = 0;                // not 0
  uint8_t flags = 0;                   // 1: sampled

  std::string TraceId() const;  // 32 digits
  std::string SpanId() const;   // 16 digits
  std::string Header() const;   // version 00
};

// Nothing for what the specification calls invalid. A later version counts as
// far as it begins like version 00.
std::optional<TraceContext> ParseTraceparent(std::string_view header);

// The span of a call: a child of `parent`, or the first of a new trace. The
// ids are unique, not secret.
TraceContext StartSpan(const std::optional<TraceContext>& parent);

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_CALLS_TRACEPARENT_H_
