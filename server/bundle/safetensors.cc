#include "server/bundle/safetensors.h"

#include <algorithm>
#include <cstring>
#include <system_error>
#include <utility>

#include "kernels/status_macros.h"
#include "server/bundle/directory_store.h"
#include "server/bundle/io.h"
#include "server/bundle/json.h"
#include "server/bundle/mapped_file.h"
#include "server/bundle/safetensors_header.h"
#include "server/model/str_cat.h"

namespace octet::bundle {

namespace fs = std::filesystem;

namespace {

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kMaxIndexBytes = uint64_t{64} << 20;

using Views = std::map<std::string, model::TensorView, std::less<>>;

absl::Status TensorError(std::string_view name, std::string_view problem) {
  return absl::InvalidArgumentError(
      model::StrCat("tensor ", Quoted(name), ": ", problem));
}

// The header's text, after checking the length in front of it.
absl::StatusOr<std::string_view> HeaderText(absl::Span<const std::byte> file) {
  if (file.size() < kLengthBytes) {
    return absl::InvalidArgumentError(model::StrCat(
        "not a safetensors file: it has ", file.size(), " bytes"));
  }
  uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthBytes);
  if (length > kMaxSafetensorsHeader) {
    return absl::InvalidArgumentError(
        model::StrCat("safetensors header: the length ", length, " is over ",
                      kMaxSafetensorsHeader));
  }
  if (length > file.size() - kLengthBytes) {
    return absl::InvalidArgumentError(model::StrCat(
        "safetensors header: the length ", length, " is beyond the file's ",
        file.size(), " bytes (truncated?)"));
  }
  return std::string_view(
      reinterpret_cast<const char*>(file.data()) + kLengthBytes, length);
}

absl::Status CheckExtent(std::string_view name, const TensorEntry& entry,
                         uint64_t data_size) {
  if (entry.begin > entry.end) {
    return TensorError(name, model::StrCat("data_offsets [", entry.begin, ", ",
                                           entry.end, "] run backwards"));
  }
  if (entry.end > data_size) {
    return TensorError(
        name, model::StrCat("data_offsets end at ", entry.end, ", beyond the ",
                            data_size, " bytes of data (truncated?)"));
  }
  ASSIGN_OR_RETURN(const uint64_t bytes,
                   TensorBytes(name, entry.type, entry.shape));
  if (bytes != entry.end - entry.begin) {
    return TensorError(
        name,
        model::StrCat(model::Name(entry.type), " ",
                      model::ShapeString(entry.shape), " takes ", bytes,
                      " bytes; data_offsets hold ", entry.end - entry.begin));
  }
  return absl::OkStatus();
}

// Every byte of data belongs to exactly one tensor.
absl::Status CheckTiling(const SafetensorsHeader& header, uint64_t data_size) {
  std::vector<const std::pair<const std::string, TensorEntry>*> order;
  order.reserve(header.tensors.size());
  for (const auto& tensor : header.tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.begin, a->second.end) <
           std::pair(b->second.begin, b->second.end);
  });
  uint64_t next = 0;
  for (const auto* tensor : order) {
    const auto& [name, entry] = *tensor;
    if (entry.begin < next) {
      return TensorError(
          name, model::StrCat("data_offsets begin at ", entry.begin,
                              " and overlap the tensor that ends at ", next));
    }
    if (entry.begin > next) {
      return TensorError(name,
                         model::StrCat("data_offsets begin at ", entry.begin,
                                       " and leave a hole after ", next));
    }
    next = entry.end;
  }
  if (next == data_size) return absl::OkStatus();
  return absl::InvalidArgumentError(
      model::StrCat("safetensors: ", data_size - next,
                    " bytes after the last tensor belong to none"));
}

struct ParsedFile {
  Views tensors;
  SafetensorsMetadata metadata;
};

absl::StatusOr<ParsedFile> ParseFile(absl::Span<const std::byte> file) {
  ASSIGN_OR_RETURN(const std::string_view text, HeaderText(file));
  ASSIGN_OR_RETURN(SafetensorsHeader header, ParseSafetensorsHeader(text));
  const absl::Span<const std::byte> data =
      file.subspan(kLengthBytes + text.size());
  for (const auto& [name, entry] : header.tensors) {
    RETURN_IF_ERROR(CheckExtent(name, entry, data.size()));
  }
  RETURN_IF_ERROR(CheckTiling(header, data.size()));
  ParsedFile parsed;
  parsed.metadata = std::move(header.metadata);
  for (auto& [name, entry] : header.tensors) {
    parsed.tensors.emplace_hint(
        parsed.tensors.end(), name,
        model::TensorView{
            .type = entry.type,
            .shape = std::move(entry.shape),
            .bytes = data.subspan(entry.begin, entry.end - entry.begin)});
  }
  return parsed;
}

std::vector<std::string> NamesOf(const Views& tensors) {
  std::vector<std::string> names;
  names.reserve(tensors.size());
  for (const auto& [name, view] : tensors) names.push_back(name);
  return names;
}

absl::StatusOr<model::TensorView> FindIn(const Views& tensors,
                                         std::string_view name) {
  const auto it = tensors.find(name);
  if (it != tensors.end()) return it->second;
  return absl::NotFoundError(
      model::StrCat("tensor ", Quoted(name), " does not exist"));
}

// Tensors of one or more mapped files.
class MappedTensors : public model::TensorSource {
 public:
  MappedTensors(std::vector<MappedFile> files, Views tensors)
      : files_(std::move(files)), tensors_(std::move(tensors)) {}

  std::vector<std::string> Names() const override { return NamesOf(tensors_); }
  absl::StatusOr<model::TensorView> Find(std::string_view name) const override {
    return FindIn(tensors_, name);
  }
  void Release(absl::Span<const std::byte> bytes) const override {
    for (const MappedFile& file : files_) file.Release(bytes);
  }

 private:
  std::vector<MappedFile> files_;
  Views tensors_;
};

// The same error, saying which file it is about.
absl::Status InFile(const fs::path& path, const absl::Status& status) {
  return absl::Status(status.code(), model::StrCat(path.filename().string(),
                                                   ": ", status.message()));
}

absl::StatusOr<std::unique_ptr<model::TensorSource>> OpenSingle(
    const fs::path& path) {
  ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  absl::StatusOr<ParsedFile> parsed = ParseFile(file.bytes());
  if (!parsed.ok()) return InFile(path, parsed.status());
  std::vector<MappedFile> files;
  files.push_back(std::move(file));
  return std::make_unique<MappedTensors>(std::move(files),
                                         std::move(parsed->tensors));
}

// Shard -> names of the tensors that the index says it holds.
using ShardMap = std::map<std::string, std::vector<std::string>>;

absl::StatusOr<ShardMap> ReadIndex(const fs::path& path) {
  const std::string what = path.filename().string();
  ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path, kMaxIndexBytes));
  ASSIGN_OR_RETURN(const nlohmann::json index, ParseJson(what, text));
  if (!index.is_object() || !index.contains("weight_map") ||
      !index["weight_map"].is_object()) {
    return absl::InvalidArgumentError(
        model::StrCat(what, ": weight_map must be an object"));
  }
  ShardMap shards;
  for (const auto& [name, shard] : index["weight_map"].items()) {
    const std::string field = model::StrCat(what, ": weight_map.", name);
    if (!shard.is_string()) {
      return absl::InvalidArgumentError(
          model::StrCat(field, " must be a file name"));
    }
    const auto& file = shard.get_ref<const std::string&>();
    RETURN_IF_ERROR(ValidateRelativePath(field, file));
    if (file.find('/') != file.npos || !file.ends_with(".safetensors")) {
      return absl::InvalidArgumentError(
          model::StrCat(field, ": ", Quoted(file),
                        " is not a .safetensors file beside the index"));
    }
    shards[file].push_back(name);
    if (shards.size() > kMaxShards) {
      return absl::InvalidArgumentError(
          model::StrCat(what, ": more than ", kMaxShards, " shards"));
    }
  }
  return shards;
}

absl::StatusOr<std::unique_ptr<model::TensorSource>> OpenShards(
    const fs::path& index) {
  ASSIGN_OR_RETURN(const ShardMap shards, ReadIndex(index));
  std::vector<MappedFile> files;
  Views tensors;
  for (const auto& [shard, names] : shards) {
    const fs::path path = index.parent_path() / shard;
    absl::StatusOr<MappedFile> file = MappedFile::Open(path);
    if (absl::IsNotFound(file.status())) {
      return absl::InvalidArgumentError(
          model::StrCat(index.filename().string(), " names the shard ",
                        Quoted(shard), ", which does not exist"));
    }
    RETURN_IF_ERROR(file.status());
    absl::StatusOr<ParsedFile> parsed = ParseFile(file->bytes());
    if (!parsed.ok()) return InFile(path, parsed.status());
    for (const std::string& name : names) {
      const auto it = parsed->tensors.find(name);
      if (it == parsed->tensors.end()) {
        return absl::InvalidArgumentError(
            model::StrCat(index.filename().string(), ": the shard ",
                          Quoted(shard), " lacks the tensor ", Quoted(name)));
      }
      tensors.emplace(name, std::move(it->second));
    }
    files.push_back(*std::move(file));
  }
  return std::make_unique<MappedTensors>(std::move(files), std::move(tensors));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Safetensors>> Safetensors::Parse(
    absl::Span<const std::byte> file) {
  ASSIGN_OR_RETURN(ParsedFile parsed, ParseFile(file));
  auto result = std::make_unique<Safetensors>();
  result->tensors_ = std::move(parsed.tensors);
  result->metadata_ = std::move(parsed.metadata);
  return result;
}

std::vector<std::string> Safetensors::Names() const {
  return NamesOf(tensors_);
}

absl::StatusOr<model::TensorView> Safetensors::Find(
    std::string_view name) const {
  return FindIn(tensors_, name);
}

absl::StatusOr<std::unique_ptr<model::TensorSource>> OpenSafetensors(
    const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return OpenSingle(path);
  const fs::path single = path / "model.safetensors";
  if (fs::exists(fs::symlink_status(single, error))) return OpenSingle(single);
  const fs::path index = path / "model.safetensors.index.json";
  if (fs::exists(fs::symlink_status(index, error))) return OpenShards(index);
  return absl::InvalidArgumentError(
      "the checkpoint has neither model.safetensors nor "
      "model.safetensors.index.json");
}

}  // namespace octet::bundle
