// What a split message must be: the same as protobuf says. Used by the property
// test and the fuzzer.

#ifndef OCTET_TESTS_SERVER_RPC_WIRE_CHECK_H_
#define OCTET_TESTS_SERVER_RPC_WIRE_CHECK_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/stubs/logging.h"
#include "server/rpc/wire/paths.h"
#include "server/rpc/wire/split.h"

namespace octet::rpc {

inline void PutBack(const std::string& data, v1::MatMulRequest* request) {
  request->mutable_x()->set_data(data);
}
inline void PutBack(const std::string& data, v1::StreamMatMulRequest* request) {
  PutBack(data, request->mutable_request());
}
inline void PutBack(const std::string& data, v1::ForwardRequest* request) {
  request->mutable_inputs()->mutable_features()->set_data(data);
}
inline void PutBack(const std::string& data,
                    inference::ModelInferRequest* request) {
  request->add_raw_input_contents(data);
}

// `bytes` in chunks: `cut()` says how long the next one is.
template <typename Cut>
std::vector<WireChunk> CutUp(std::string_view bytes, Cut cut) {
  std::vector<WireChunk> chunks;
  while (!bytes.empty()) {
    const size_t size = std::min<size_t>(cut(), bytes.size());
    chunks.emplace_back(reinterpret_cast<const uint8_t*>(bytes.data()), size);
    bytes.remove_prefix(size);
  }
  return chunks;
}

// Maps in the order of their keys.
inline std::string Canonical(const google::protobuf::MessageLite& message) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

// Empty when splitting and protobuf agree, else what they differ in.
template <typename Message, typename Cut>
std::string Difference(const std::string& bytes, Cut cut) {
  const google::protobuf::LogSilencer quiet;
  Message expected;
  const bool valid = expected.ParseFromString(bytes);

  const std::vector<WireChunk> chunks = CutUp(bytes, cut);
  WireParts parts;
  Message found;
  const bool accepted = SplitWire(chunks, LargeField(&found), &parts) &&
                        found.ParseFromString(parts.rest);
  if (accepted != valid) {
    return accepted ? "protobuf does not accept it" : "protobuf accepts it";
  }
  if (!valid) return "";
  if (parts.rest.size() > bytes.size()) return "the rest is larger";
  for (const WireBytes& large : parts.large) {
    // In two parts, as rows are fetched.
    std::string data(large.size(), '\0');
    const size_t half = large.size() / 2;
    large.Part(half, large.size() - half).CopyTo(data.data() + half);
    large.Part(0, half).CopyTo(data.data());
    if (!data.empty() || LargeField(&found).repeated) PutBack(data, &found);
  }
  return Canonical(found) == Canonical(expected) ? "" : "values differ";
}

}  // namespace octet::rpc

#endif  // OCTET_TESTS_SERVER_RPC_WIRE_CHECK_H_
