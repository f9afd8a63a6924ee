#include "server/rpc/wire/message.h"

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "server/model/str_cat.h"
#include "server/rpc/wire/beside.h"

namespace octet::rpc {
namespace {

// Below this, a copy costs less than another slice on its way to the socket.
constexpr size_t kSmallBytes = 4096;

// Where a nested message lies in a serialized one.
struct Extent {
  size_t length_at;  // its length prefix
  size_t begin;
  size_t end;
};

// The last field `number` of the message in bytes [begin, end).
Extent Find(const std::string& bytes, uint32_t number, size_t begin,
            size_t end) {
  const WireChunk chunk(reinterpret_cast<const uint8_t*>(bytes.data()), end);
  WireCursor cursor(absl::MakeConstSpan(&chunk, 1));
  cursor.Skip(begin);
  Extent found = {end, end, end};
  uint32_t tag = 0;
  while (cursor.position() < end && cursor.ReadTag(&tag)) {
    const size_t length_at = cursor.position();
    if (tag != TagOf(number)) {
      if (!SkipField(tag, &cursor)) break;
      continue;
    }
    size_t length = 0;
    if (!cursor.ReadLength(&length)) break;
    found = {length_at, cursor.position(), cursor.position() + length};
    if (!cursor.Skip(length)) break;
  }
  return found;
}

// A message's bytes before the large fields, and after them.
struct Frame {
  std::string head;
  std::string tail;
};

// `grown`: how many bytes are put between the two.
Frame MakeFrame(const WirePath& path, std::string bytes, uint64_t grown) {
  std::vector<Extent> extents;
  size_t begin = 0;
  size_t end = bytes.size();
  for (size_t depth = 0; depth + 1 < path.fields.size(); ++depth) {
    extents.push_back(Find(bytes, path.fields[depth], begin, end));
    begin = extents.back().begin;
    end = extents.back().end;
  }
  Frame frame;
  frame.tail = bytes.substr(end);
  bytes.resize(end);
  // From the inside out, since lengths of lengths count.
  for (auto extent = extents.rbegin(); extent != extents.rend(); ++extent) {
    std::string length;
    AppendVarint(extent->end - extent->begin + grown, &length);
    const size_t old = extent->begin - extent->length_at;
    bytes.replace(extent->length_at, old, length);
    grown += length.size() - old;
  }
  frame.head = std::move(bytes);
  return frame;
}

grpc::ByteBuffer Join(const std::vector<grpc::Slice>& slices, size_t bytes) {
  if (bytes > kSmallBytes || slices.size() == 1) {
    return grpc::ByteBuffer(slices.data(), slices.size());
  }
  std::string all;
  all.reserve(bytes);
  for (const grpc::Slice& slice : slices) {
    all.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  const grpc::Slice one(all);
  return grpc::ByteBuffer(&one, 1);
}

}  // namespace

absl::Status ReceivedBytes::Parse(const WirePath& path,
                                  grpc::ByteBuffer* buffer,
                                  google::protobuf::MessageLite* fields) {
  held_ = std::make_unique<Held>();
  held_->buffer.Swap(buffer);
  const bool dumped = held_->buffer.Dump(&held_->slices).ok();
  chunks_.clear();
  chunks_.reserve(held_->slices.size());
  size_ = 0;
  for (const grpc::Slice& slice : held_->slices) {
    chunks_.emplace_back(slice.begin(), slice.size());
    size_ += slice.size();
  }
  if (!FitsBeside(chunks_, path, kMostBeside)) {
    return absl::InvalidArgumentError(model::StrCat(
        "the request has more than ", kMostBeside,
        " bytes beside the values of its tensors: names, shapes, parameters "
        "and unknown fields together may have no more"));
  }
  WireParts parts;
  const bool parsed = dumped && SplitWire(chunks_, path, &parts) &&
                      fields->ParseFromString(parts.rest);
  large_ = std::move(parts.large);
  if (parsed) return absl::OkStatus();
  return absl::InvalidArgumentError(model::StrCat(
      "the request is no ", fields->GetTypeName(), " in protobuf's encoding"));
}

grpc::Slice SliceOf(std::shared_ptr<const void> owner, const void* data,
                    size_t bytes) {
  using Owner = std::shared_ptr<const void>;
  // gRPC reads what it is given, though it does not say so.
  return grpc::Slice(
      const_cast<void*>(data), bytes,
      [](void* kept) { delete static_cast<Owner*>(kept); },
      new Owner(std::move(owner)));
}

grpc::ByteBuffer MakeMessage(const WirePath& path,
                             const google::protobuf::MessageLite& fields,
                             absl::Span<const grpc::Slice> large) {
  std::vector<std::string> prefixes(large.size());
  uint64_t grown = 0;
  for (size_t i = 0; i < large.size(); ++i) {
    AppendVarint(TagOf(path.fields.back()), &prefixes[i]);
    AppendVarint(large[i].size(), &prefixes[i]);
    grown += prefixes[i].size() + large[i].size();
  }
  Frame frame = MakeFrame(path, fields.SerializeAsString(), grown);
  const size_t bytes = frame.head.size() + grown + frame.tail.size();
  std::vector<grpc::Slice> slices;
  for (size_t i = 0; i < large.size(); ++i) {
    slices.emplace_back(frame.head + prefixes[i]);
    frame.head.clear();
    slices.push_back(large[i]);
  }
  if (!frame.head.empty() || !frame.tail.empty() || slices.empty()) {
    slices.emplace_back(frame.head + frame.tail);
  }
  return Join(slices, bytes);
}

}  // namespace octet::rpc
