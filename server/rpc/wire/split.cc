#include "server/rpc/wire/split.h"

#include <algorithm>

namespace octet::rpc {
namespace {

// Skips what follows a tag; of a start tag, that alone.
bool SkipValue(uint32_t tag, WireCursor* cursor) {
  size_t length = 0;
  switch (tag & 7) {
    case kVarint:
      return cursor->SkipVarint();
    case kFixed64:
      return cursor->Skip(sizeof(uint64_t));
    case kLengthDelimited:
      return cursor->ReadLength(&length) && cursor->Skip(length);
    case kFixed32:
      return cursor->Skip(sizeof(uint32_t));
    case kStartGroup:
    case kEndGroup:
      return true;
    default:
      return false;
  }
}

class Splitter {
 public:
  Splitter(const WirePath& path, WireParts* parts)
      : path_(path), parts_(*parts) {}

  // The message between the cursor and `end`, reached by the first `depth`
  // fields of the path.
  bool Message(size_t depth, size_t end, WireCursor* cursor) {
    while (cursor->position() < end) {
      WireCursor start = *cursor;
      uint32_t tag = 0;
      if (!cursor->ReadTag(&tag)) return false;
      if (!path_.fields.empty() && tag == TagOf(path_.fields[depth])) {
        if (!OnPath(depth, end, cursor)) return false;
        continue;
      }
      if (!SkipField(tag, cursor) || cursor->position() > end) return false;
      start.AppendTo(&parts_.rest, cursor->position() - start.position());
      if (path_.rival != 0 && depth == path_.rival_depth &&
          tag == TagOf(path_.rival)) {
        parts_.large.clear();
      }
    }
    return cursor->position() == end;
  }

 private:
  bool OnPath(size_t depth, size_t end, WireCursor* cursor) {
    size_t length = 0;
    if (!cursor->ReadLength(&length)) return false;
    if (length > end - std::min(end, cursor->position())) return false;
    if (depth + 1 == path_.fields.size()) {
      if (!path_.repeated) parts_.large.clear();
      parts_.large.emplace_back(*cursor, length);
      return cursor->Skip(length);
    }
    return Nested(depth, length, cursor);
  }

  // Its length in `rest` is known when its fields are.
  bool Nested(size_t depth, size_t length, WireCursor* cursor) {
    std::string& rest = parts_.rest;
    AppendVarint(TagOf(path_.fields[depth]), &rest);
    const size_t begin = rest.size();
    if (!Message(depth + 1, cursor->position() + length, cursor)) return false;
    std::string kept;
    AppendVarint(rest.size() - begin, &kept);
    rest.insert(begin, kept);
    return true;
  }

  const WirePath& path_;
  WireParts& parts_;
};

}  // namespace

void AppendVarint(uint64_t value, std::string* to) {
  for (; value >= 0x80; value >>= 7) {
    to->push_back(static_cast<char>(value | 0x80));
  }
  to->push_back(static_cast<char>(value));
}

bool SkipField(uint32_t tag, WireCursor* cursor) {
  if ((tag & 7) == kEndGroup || !SkipValue(tag, cursor)) return false;
  for (size_t open = (tag & 7) == kStartGroup ? 1 : 0; open > 0;) {
    if (!cursor->ReadTag(&tag) || !SkipValue(tag, cursor)) return false;
    if ((tag & 7) == kStartGroup) ++open;
    if ((tag & 7) == kEndGroup) --open;
  }
  return true;
}

bool SplitWire(WireChunks chunks, const WirePath& path, WireParts* parts) {
  size_t size = 0;
  for (const WireChunk& chunk : chunks) size += chunk.size();
  *parts = {};
  WireCursor cursor(chunks);
  return Splitter(path, parts).Message(0, size, &cursor);
}

}  // namespace octet::rpc
