#include "server/rpc/wire/beside.h"

#include <algorithm>
#include <cstdint>

namespace octet::rpc {
namespace {

// Which paths lead to the message that is walked through.
struct Ways {
  bool numbers;
  bool large = true;
  size_t depth = 0;
};

class Meter {
 public:
  Meter(const WirePath& path, size_t most) : path_(path), left_(most) {}

  bool Message(size_t size, WireCursor* cursor) {
    return Walk({.numbers = !path_.numbers.empty()}, size, cursor);
  }

  bool spent() const { return spent_; }

 private:
  // The message between the cursor and `end`. False where the walk stops: at
  // the limit, or at what is no message.
  bool Walk(Ways ways, size_t end, WireCursor* cursor) {
    while (cursor->position() < end) {
      const size_t start = cursor->position();
      uint32_t tag = 0;
      if (!cursor->ReadTag(&tag)) return false;
      if (!Field(ways, tag, start, end, cursor)) return false;
    }
    return true;
  }

  bool Field(Ways ways, uint32_t tag, size_t start, size_t end,
             WireCursor* cursor) {
    const bool in_numbers = ways.numbers && ways.depth == path_.numbers.size();
    const Ways next = {
        .numbers = ways.numbers && Leads(path_.numbers, ways.depth, tag),
        .large = ways.large && Leads(path_.fields, ways.depth, tag),
        .depth = ways.depth + 1};
    const bool is_long = (tag & 7) == kLengthDelimited;
    if (!is_long || !(in_numbers || next.large || next.numbers)) {
      if (!SkipField(tag, cursor)) return false;
      const bool is_number = !is_long && (tag & 7) != kStartGroup;
      return (in_numbers && is_number) || Pay(cursor->position() - start);
    }
    size_t length = 0;
    if (!cursor->ReadLength(&length)) return false;
    if (length > end - std::min(end, cursor->position())) return false;
    if (!Pay(cursor->position() - start)) return false;
    if (next.numbers || (next.large && next.depth < path_.fields.size())) {
      return Walk(next, cursor->position() + length, cursor);
    }
    return cursor->Skip(length);
  }

  static bool Leads(absl::Span<const uint32_t> fields, size_t depth,
                    uint32_t tag) {
    return depth < fields.size() && tag == TagOf(fields[depth]);
  }

  bool Pay(size_t bytes) {
    spent_ = bytes > left_;
    left_ -= std::min(bytes, left_);
    return !spent_;
  }

  const WirePath& path_;
  size_t left_;
  bool spent_ = false;
};

}  // namespace

bool FitsBeside(WireChunks chunks, const WirePath& path, size_t most) {
  size_t size = 0;
  for (const WireChunk& chunk : chunks) size += chunk.size();
  WireCursor cursor(chunks);
  Meter meter(path, most);
  return meter.Message(size, &cursor) || !meter.spent();
}

}  // namespace octet::rpc
