#include "server/rpc/calls/traceparent.h"

#include <random>

namespace octet::rpc {
namespace {

constexpr size_t kLength = 55;  // of version 00
constexpr std::string_view kDigits = "0123456789abcdef";

// Digits of `text`; false unless all are lower-case hexadecimal.
bool ParseHex(std::string_view text, uint64_t* value) {
  *value = 0;
  for (const char c : text) {
    const size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) return false;
    *value = *value << 4 | digit;
  }
  return true;
}

void AppendHex(uint64_t value, int digits, std::string* out) {
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
    *out += kDigits[value >> shift & 15];
  }
}

uint64_t RandomId() {
  thread_local std::mt19937_64 generator([] {
    std::random_device device;
    return uint64_t{device()} << 32 | device();
  }());
  uint64_t id = 0;
  while (id == 0) id = generator();
  return id;
}

}  // namespace

std::string TraceContext::TraceId() const {
  std::string text;
  AppendHex(trace_id[0], 16, &text);
  AppendHex(trace_id[1], 16, &text);
  return text;
}

std::string TraceContext::SpanId() const {
  std::string text;
  AppendHex(span_id, 16, &text);
  return text;
}

std::string TraceContext::Header() const {
  std::string text = "00-" + TraceId() + "-" + SpanId() + "-";
  AppendHex(flags, 2, &text);
  return text;
}

std::optional<TraceContext> ParseTraceparent(std::string_view header) {
  if (header.size() < kLength || header[2] != '-' || header[35] != '-' ||
      header[52] != '-') {
    return std::nullopt;
  }
  uint64_t version = 0;
  uint64_t flags = 0;
  TraceContext context;
  if (!ParseHex(header.substr(0, 2), &version) ||
      !ParseHex(header.substr(3, 16), context.trace_id.data()) ||
      !ParseHex(header.substr(19, 16), &context.trace_id[1]) ||
      !ParseHex(header.substr(36, 16), &context.span_id) ||
      !ParseHex(header.substr(53, 2), &flags)) {
    return std::nullopt;
  }
  const bool ends = header.size() == kLength;
  if (version == 0xff || (version == 0 && !ends) ||
      (!ends && header[kLength] != '-')) {
    return std::nullopt;
  }
  if ((context.trace_id[0] | context.trace_id[1]) == 0 ||
      context.span_id == 0) {
    return std::nullopt;
  }
  context.flags = static_cast<uint8_t>(flags);
  return context;
}

TraceContext StartSpan(const std::optional<TraceContext>& parent) {
  TraceContext span;
  if (parent) {
    span.trace_id = parent->trace_id;
    span.flags = parent->flags & 1;  // the only one that version 00 knows
  } else {
    span.trace_id = {RandomId(), RandomId()};
  }
  span.span_id = RandomId();
  return span;
}

}  // namespace octet::rpc
