#include "server/bundle/shard_writer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "kernels/status_macros.h"
#include "server/bundle/atomic_file.h"
#include "server/bundle/json.h"
#include "server/model/str_cat.h"

namespace octet::bundle {

std::vector<std::vector<TensorInfo>> DivideIntoShards(
    const std::vector<TensorInfo>& tensors, uint64_t max_bytes) {
  std::vector<std::vector<TensorInfo>> shards(1);
  uint64_t filled = 0;
  for (const TensorInfo& tensor : tensors) {
    const uint64_t bytes = ByteSize(tensor);
    if (bytes > 0 && !shards.back().empty() &&
        (filled > max_bytes || bytes > max_bytes - filled)) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().push_back(tensor);
    filled += bytes;
  }
  return shards;
}

absl::StatusOr<std::unique_ptr<ShardWriter>> ShardWriter::Create(
    std::filesystem::path directory, const std::vector<TensorInfo>& tensors,
    SafetensorsMetadata metadata, uint64_t max_shard_bytes) {
  std::vector<std::vector<TensorInfo>> divided =
      DivideIntoShards(tensors, max_shard_bytes);
  if (divided.size() > kMaxShards) {
    return absl::InvalidArgumentError(
        model::StrCat("max_shard_bytes: ", max_shard_bytes, " would make ",
                      divided.size(), " shards of this checkpoint; at most ",
                      kMaxShards, " are read back: allow longer ones"));
  }
  std::vector<Shard> shards;
  for (size_t i = 0; i < divided.size(); ++i) {
    shards.push_back(
        {.file = divided.size() == 1
                     ? "model.safetensors"
                     : absl::StrFormat("model-%05d-of-%05d.safetensors", i + 1,
                                       divided.size()),
         .tensors = std::move(divided[i])});
  }
  return std::unique_ptr<ShardWriter>(new ShardWriter(
      std::move(directory), std::move(shards), std::move(metadata)));
}

ShardWriter::ShardWriter(std::filesystem::path directory,
                         std::vector<Shard> shards,
                         SafetensorsMetadata metadata)
    : directory_(std::move(directory)),
      shards_(std::move(shards)),
      metadata_(std::move(metadata)) {}

absl::Status ShardWriter::OpenNext() {
  if (writer_ != nullptr) RETURN_IF_ERROR(writer_->Finish());
  const Shard& shard = shards_[opened_];
  ASSIGN_OR_RETURN(
      writer_, SafetensorsWriter::Create(directory_ / shard.file, shard.tensors,
                                         metadata_));
  ++opened_;
  return absl::OkStatus();
}

absl::Status ShardWriter::Append(std::string_view name,
                                 absl::Span<const std::byte> data) {
  if (writer_ == nullptr || (writer_->complete() && opened_ < shards_.size())) {
    RETURN_IF_ERROR(OpenNext());
  }
  return writer_->Append(name, data);
}

absl::Status ShardWriter::Finish() {
  while (opened_ < shards_.size()) RETURN_IF_ERROR(OpenNext());
  RETURN_IF_ERROR(writer_->Finish());
  return shards_.size() == 1 ? absl::OkStatus() : WriteIndex();
}

absl::Status ShardWriter::WriteIndex() const {
  uint64_t total = 0;
  nlohmann::ordered_json map = nlohmann::ordered_json::object();
  for (const Shard& shard : shards_) {
    for (const TensorInfo& tensor : shard.tensors) {
      total += ByteSize(tensor);
      // push_back, not []: ordered_json looks a key up by walking all of them.
      map.push_back({tensor.name, shard.file});
    }
  }
  nlohmann::ordered_json index;
  index["metadata"] = {{"total_size", total}};
  index["weight_map"] = std::move(map);
  return WriteFileAtomically(directory_ / "model.safetensors.index.json",
                             model::StrCat(JsonText(index, 2), "\n"));
}

}  // namespace octet::bundle
