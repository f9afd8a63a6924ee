// The safetensors format: an 8-byte little-endian header length, a JSON header
//   {"name": {"dtype": "F32", "shape": [..], "data_offsets": [begin, end]}, ..}
// and the tensors' bytes. https://huggingface.co/docs/safetensors
//
// A reader treats the file as hostile: header length and nesting, types,
// shapes that overflow, offsets out of order, overlapping or leaving holes,
// duplicate names are all INVALID_ARGUMENT, naming the tensor.

#ifndef OCTET_SERVER_BUNDLE_SAFETENSORS_H_
#define OCTET_SERVER_BUNDLE_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/model/tensor.h"

namespace octet::bundle {

// Files that an index may name.
inline constexpr size_t kMaxShards = 1024;

using SafetensorsMetadata = std::map<std::string, std::string>;

// Tensors over bytes that live elsewhere (a mapped file, a buffer).
class Safetensors : public model::TensorSource {
 public:
  static absl::StatusOr<std::unique_ptr<Safetensors>> Parse(
      absl::Span<const std::byte> file);

  std::vector<std::string> Names() const override;
  absl::StatusOr<model::TensorView> Find(std::string_view name) const override;
  const SafetensorsMetadata& metadata() const { return metadata_; }

 private:
  std::map<std::string, model::TensorView, std::less<>> tensors_;
  SafetensorsMetadata metadata_;
};

// Maps `path` (or every shard that `path`'s model.safetensors.index.json
// names, when `path` is a directory) and keeps it mapped.
absl::StatusOr<std::unique_ptr<model::TensorSource>> OpenSafetensors(
    const std::filesystem::path& path);

// Name, type and shape of a tensor that will be written.
struct TensorInfo {
  std::string name;
  model::DataType type;
  std::vector<int64_t> shape;
};

uint64_t ByteSize(const TensorInfo& tensor);  // of a shape that is not hostile

// Writes a file tensor by tensor, or piece by piece where a tensor is large, so
// that memory holds little of it. Data must come in the declared order.
class SafetensorsWriter {
 public:
  static absl::StatusOr<std::unique_ptr<SafetensorsWriter>> Create(
      const std::filesystem::path& path, std::vector<TensorInfo> tensors,
      const SafetensorsMetadata& metadata);
  ~SafetensorsWriter();

  // The next bytes of `name`, at least one call for each tensor.
  // INVALID_ARGUMENT when another one is due or there are too many bytes.
  absl::Status Append(std::string_view name, absl::Span<const std::byte> data);

  bool complete() const;  // every tensor came

  // Checks that every tensor came, syncs and closes.
  absl::Status Finish();

 private:
  class Impl;
  explicit SafetensorsWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace octet::bundle

#endif  // OCTET_SERVER_BUNDLE_SAFETENSORS_H_
