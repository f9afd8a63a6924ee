#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <set>
#include <utility>

#include "kernels/status_macros.h"
#include "nlohmann/json.hpp"
#include "server/bundle/io.h"
#include "server/bundle/safetensors.h"
#include "server/bundle/safetensors_header.h"
#include "server/model/str_cat.h"

namespace octet::bundle {

namespace fs = std::filesystem;

namespace {

// The reference library pads the header with spaces, so that the data section
// starts at a multiple of 8.
constexpr size_t kAlignment = 8;

absl::Status CheckDeclaration(const std::vector<TensorInfo>& tensors) {
  std::set<std::string_view> names;
  for (const TensorInfo& tensor : tensors) {
    const std::string& name = tensor.name;
    if (name.empty() || name.size() > kMaxTensorName ||
        name == "__metadata__") {
      return absl::InvalidArgumentError(
          model::StrCat(Quoted(name), " can not be a tensor's name"));
    }
    if (!names.insert(name).second) {
      return absl::InvalidArgumentError(
          model::StrCat("tensor ", Quoted(name), " is declared twice"));
    }
    if (tensor.shape.size() > kMaxTensorRank) {
      return absl::InvalidArgumentError(
          model::StrCat("tensor ", Quoted(name), " has more than ",
                        kMaxTensorRank, " dimensions"));
    }
    RETURN_IF_ERROR(TensorBytes(name, tensor.type, tensor.shape).status());
  }
  return absl::OkStatus();
}

// Header length and header, padded.
absl::StatusOr<std::string> Prologue(const std::vector<TensorInfo>& tensors,
                                     const SafetensorsMetadata& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const TensorInfo& tensor : tensors) {
    ASSIGN_OR_RETURN(const uint64_t bytes,
                     TensorBytes(tensor.name, tensor.type, tensor.shape));
    uint64_t end = 0;
    if (__builtin_add_overflow(offset, bytes, &end)) {
      return absl::InvalidArgumentError("the tensors' total size overflows");
    }
    // push_back, not []: ordered_json looks a key up by walking all of them.
    header.push_back({tensor.name,
                      {{"dtype", std::string(model::Name(tensor.type))},
                       {"shape", tensor.shape},
                       {"data_offsets", {offset, end}}}});
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception&) {
    return absl::InvalidArgumentError(
        "a tensor's name or a metadata string is not UTF-8");
  }
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  if (text.size() > kMaxSafetensorsHeader) {
    return absl::InvalidArgumentError(
        model::StrCat("the header would have ", text.size(), " bytes; at most ",
                      kMaxSafetensorsHeader, " can be read"));
  }
  const uint64_t length = text.size();
  std::string prologue(sizeof(length), '\0');
  std::memcpy(prologue.data(), &length, sizeof(length));
  return prologue + text;
}

}  // namespace

uint64_t ByteSize(const TensorInfo& tensor) {
  uint64_t elements = 1;
  for (const int64_t extent : tensor.shape) elements *= extent;
  return elements * model::SizeOf(tensor.type);
}

class SafetensorsWriter::Impl {
 public:
  Impl(fs::path path, FileDescriptor file, std::vector<TensorInfo> tensors)
      : path_(std::move(path)),
        file_(std::move(file)),
        tensors_(std::move(tensors)) {}

  absl::Status Write(std::string_view prologue) {
    return WriteAll(file_.get(), prologue, path_);
  }

  absl::Status Append(std::string_view name, absl::Span<const std::byte> data) {
    if (next_ == tensors_.size() || tensors_[next_].name != name) {
      return absl::InvalidArgumentError(model::StrCat(
          "tensor ", Quoted(name), " comes out of turn; ",
          next_ == tensors_.size() ? "no tensor" : Quoted(tensors_[next_].name),
          " is next"));
    }
    const TensorInfo& tensor = tensors_[next_];
    ASSIGN_OR_RETURN(const uint64_t bytes,
                     TensorBytes(name, tensor.type, tensor.shape));
    if (data.size() > bytes - written_) {
      return absl::InvalidArgumentError(
          model::StrCat("tensor ", Quoted(name), " was declared with ", bytes,
                        " bytes, and comes with ", written_ + data.size()));
    }
    RETURN_IF_ERROR(WriteAll(file_.get(), data, path_));
    written_ += data.size();
    if (written_ == bytes) {
      ++next_;
      written_ = 0;
    }
    return absl::OkStatus();
  }

  bool complete() const { return next_ == tensors_.size(); }

  absl::Status Finish() {
    if (!complete()) {
      return absl::InvalidArgumentError(
          model::StrCat("tensor ", Quoted(tensors_[next_].name),
                        " did not come, or only ", written_, " bytes of it"));
    }
    if (fsync(file_.get()) != 0) return ErrnoStatus("fsync", path_);
    file_ = FileDescriptor();
    return absl::OkStatus();
  }

 private:
  fs::path path_;
  FileDescriptor file_;
  std::vector<TensorInfo> tensors_;
  size_t next_ = 0;
  uint64_t written_ = 0;  // bytes of the tensor that is next
};

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(
    const fs::path& path, std::vector<TensorInfo> tensors,
    const SafetensorsMetadata& metadata) {
  RETURN_IF_ERROR(CheckDeclaration(tensors));
  ASSIGN_OR_RETURN(const std::string prologue, Prologue(tensors, metadata));
  ASSIGN_OR_RETURN(FileDescriptor file,
                   OpenFile(path, O_WRONLY | O_CREAT | O_TRUNC));
  auto impl = std::make_unique<Impl>(path, std::move(file), std::move(tensors));
  RETURN_IF_ERROR(impl->Write(prologue));
  return std::unique_ptr<SafetensorsWriter>(
      new SafetensorsWriter(std::move(impl)));
}

SafetensorsWriter::SafetensorsWriter(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)) {}

SafetensorsWriter::~SafetensorsWriter() = default;

absl::Status SafetensorsWriter::Append(std::string_view name,
                                       absl::Span<const std::byte> data) {
  return impl_->Append(name, data);
}

bool SafetensorsWriter::complete() const { return impl_->complete(); }

absl::Status SafetensorsWriter::Finish() { return impl_->Finish(); }

}  // namespace octet::bundle
