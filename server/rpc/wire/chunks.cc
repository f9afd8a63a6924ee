#include "server/rpc/wire/chunks.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace octet::rpc {
namespace {

constexpr int kVarintBytes = 10;
constexpr int kTagBytes = 5;
constexpr int kLengthBytes = 5;
constexpr uint64_t kMaxLength = std::numeric_limits<int32_t>::max() - 16;

}  // namespace

WireCursor::WireCursor(WireChunks chunks) : chunks_(chunks) {}

bool WireCursor::ReadByte(uint8_t* byte) {
  while (!chunks_.empty()) {
    const WireChunk& chunk = chunks_.front();
    if (offset_ < chunk.size()) {
      *byte = chunk[offset_++];
      return true;
    }
    passed_ += chunk.size();
    offset_ = 0;
    chunks_.remove_prefix(1);
  }
  return false;
}

bool WireCursor::ReadTag(uint32_t* tag) {
  uint32_t value = 0;
  uint8_t byte = 0;
  for (int i = 0; i < kTagBytes; ++i) {
    if (!ReadByte(&byte)) return false;
    value |= uint32_t{byte & 0x7fU} << (7 * i);
    if (byte < 0x80) {
      *tag = value;
      return true;
    }
  }
  return false;
}

bool WireCursor::ReadLength(size_t* length) {
  uint64_t value = 0;
  uint8_t byte = 0;
  for (int i = 0; i < kLengthBytes; ++i) {
    if (!ReadByte(&byte)) return false;
    value |= uint64_t{byte & 0x7fU} << (7 * i);
    if (byte < 0x80) {
      *length = static_cast<size_t>(value);
      return value <= kMaxLength;
    }
  }
  return false;
}

bool WireCursor::SkipVarint() {
  uint8_t byte = 0;
  for (int i = 0; i < kVarintBytes; ++i) {
    if (!ReadByte(&byte)) return false;
    if (byte < 0x80) return true;
  }
  return false;
}

template <typename Take>
bool WireCursor::ForPieces(size_t bytes, Take take) {
  while (bytes > 0) {
    if (chunks_.empty()) return false;
    const WireChunk& chunk = chunks_.front();
    const size_t piece = std::min(bytes, chunk.size() - offset_);
    take(chunk.data() + offset_, piece);
    offset_ += piece;
    bytes -= piece;
    if (bytes == 0) return true;
    passed_ += chunk.size();
    offset_ = 0;
    chunks_.remove_prefix(1);
  }
  return true;
}

bool WireCursor::Skip(size_t bytes) {
  return ForPieces(bytes, [](const uint8_t*, size_t) {});
}

bool WireCursor::CopyTo(void* to, size_t bytes) {
  auto* at = static_cast<uint8_t*>(to);
  return ForPieces(bytes, [&at](const uint8_t* data, size_t size) {
    if (size > 0) std::memcpy(at, data, size);
    at += size;
  });
}

bool WireCursor::AppendTo(std::string* to, size_t bytes) {
  return ForPieces(bytes, [to](const uint8_t* data, size_t size) {
    to->append(reinterpret_cast<const char*>(data), size);
  });
}

WireBytes WireBytes::Part(size_t offset, size_t size) const {
  WireCursor start = start_;
  start.Skip(offset);
  return {start, size};
}

void WireBytes::CopyTo(void* to) const {
  WireCursor cursor = start_;
  cursor.CopyTo(to, size_);
}

}  // namespace octet::rpc
