// Tensors into a directory, as one model.safetensors or, where that would be
// longer than a shard may be, as files of at most that size and an index:
//
//   model-00001-of-00002.safetensors  model-00002-of-00002.safetensors
//   model.safetensors.index.json      {"metadata": {"total_size": ..},
//                                      "weight_map": {"name": "file", ..}}
//
// as Hugging Face writes them. Tensors keep their order; a tensor is never
// divided, so that one longer than a shard is a shard of its own.

#ifndef OCTET_SERVER_BUNDLE_SHARD_WRITER_H_
#define OCTET_SERVER_BUNDLE_SHARD_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/bundle/safetensors.h"

namespace octet::bundle {

// 5 GB, the size that Hugging Face's writers divide at.
inline constexpr uint64_t kDefaultShardBytes = 5'000'000'000;

// Data of one file at most `max_bytes` long, but for tensors longer than that.
// Never empty.
std::vector<std::vector<TensorInfo>> DivideIntoShards(
    const std::vector<TensorInfo>& tensors, uint64_t max_bytes);

class ShardWriter {
 public:
  // Decides the files; writes none yet. INVALID_ARGUMENT when there would be
  // more of them than a reader takes (kMaxShards).
  static absl::StatusOr<std::unique_ptr<ShardWriter>> Create(
      std::filesystem::path directory, const std::vector<TensorInfo>& tensors,
      SafetensorsMetadata metadata, uint64_t max_shard_bytes);

  // As SafetensorsWriter's.
  absl::Status Append(std::string_view name, absl::Span<const std::byte> data);

  // Checks that every tensor came, and writes the index.
  absl::Status Finish();

 private:
  struct Shard {
    std::string file;
    std::vector<TensorInfo> tensors;
  };

  ShardWriter(std::filesystem::path directory, std::vector<Shard> shards,
              SafetensorsMetadata metadata);
  absl::Status OpenNext();  // after closing the one that is open
  absl::Status WriteIndex() const;

  const std::filesystem::path directory_;
  const std::vector<Shard> shards_;
  const SafetensorsMetadata metadata_;
  std::unique_ptr<SafetensorsWriter> writer_;  // of shards_[opened_ - 1]
  size_t opened_ = 0;
};

}  // namespace octet::bundle

#endif  // OCTET_SERVER_BUNDLE_SHARD_WRITER_H_
