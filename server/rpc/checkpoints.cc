#include "server/rpc/checkpoints.h"

#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <optional>
#include <string>
#include <utility>

#include "absl/types/span.h"
#include "kernels/finite.h"
#include "kernels/status_macros.h"
#include "server/bundle/bundle.h"
#include "server/bundle/io.h"
#include "server/model/importer.h"
#include "server/model/str_cat.h"
#include "server/model/tensor.h"

namespace octet::rpc {

namespace fs = std::filesystem;

namespace {

using model::DataType;
using model::TensorView;

std::optional<size_t> FirstNonFiniteFp64(absl::Span<const double> values) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) return i;
  }
  return std::nullopt;
}

// Looks at the bytes piece by piece in an aligned buffer, since a file may
// place a tensor anywhere, and lets go of them: a checkpoint can be larger
// than memory.
template <typename T, typename Look>
std::optional<size_t> FirstInBytes(const model::TensorSource& tensors,
                                   absl::Span<const std::byte> bytes,
                                   Look look) {
  std::vector<T> piece((size_t{1} << 20) / sizeof(T));
  const size_t count = bytes.size() / sizeof(T);
  for (size_t begin = 0; begin < count; begin += piece.size()) {
    const size_t length = std::min(piece.size(), count - begin);
    const auto part = bytes.subspan(begin * sizeof(T), length * sizeof(T));
    std::memcpy(piece.data(), part.data(), part.size());
    tensors.Release(part);
    const auto found = look(absl::MakeConstSpan(piece.data(), length));
    if (found) return begin + *found;
  }
  return std::nullopt;
}

std::optional<size_t> FirstNonFinite(const model::TensorSource& tensors,
                                     const TensorView& tensor) {
  switch (tensor.type) {
    case DataType::kF64:
      return FirstInBytes<double>(tensors, tensor.bytes, FirstNonFiniteFp64);
    case DataType::kF32:
      return FirstInBytes<float>(tensors, tensor.bytes,
                                 kernels::FirstNonFinite);
    case DataType::kF16:
      return FirstInBytes<uint16_t>(tensors, tensor.bytes,
                                    kernels::FirstNonFiniteFp16);
    case DataType::kBF16:
      return FirstInBytes<uint16_t>(tensors, tensor.bytes,
                                    kernels::FirstNonFiniteBf16);
    default:
      return std::nullopt;
  }
}

absl::Status CheckAllFinite(const model::TensorSource& tensors) {
  for (const std::string& name : tensors.Names()) {
    ASSIGN_OR_RETURN(const TensorView tensor, tensors.Find(name));
    const std::optional<size_t> index = FirstNonFinite(tensors, tensor);
    if (!index) continue;
    return absl::InvalidArgumentError(
        model::StrCat("tensor ", bundle::Quoted(name), " of shape ",
                      model::ShapeString(tensor.shape),
                      " has a NaN or an infinity at element ", *index));
  }
  return absl::OkStatus();
}

// What is wrong in an upload is the caller's: a missing tensor or a damaged
// file is not NOT_FOUND or DATA_LOSS of something the server has.
absl::Status AsCallersMistake(const absl::Status& status) {
  if (absl::IsNotFound(status) || absl::IsDataLoss(status) ||
      absl::IsFailedPrecondition(status) || absl::IsOutOfRange(status)) {
    return absl::InvalidArgumentError(status.message());
  }
  return status;
}

absl::Status Validate(const fs::path& directory) {
  ASSIGN_OR_RETURN(const bundle::ModelFiles files,
                   bundle::OpenCheckpoint(directory));
  RETURN_IF_ERROR(model::Import(files.configs, *files.tensors).status());
  return CheckAllFinite(*files.tensors);
}

absl::StatusOr<absl::Time> ModificationTime(const fs::path& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    return bundle::ErrnoStatus("stat", path);
  }
  return absl::TimeFromTimespec(info.st_mtim);
}

absl::StatusOr<std::vector<bundle::UploadFile>> Files(
    const fs::path& directory) {
  ASSIGN_OR_RETURN(const std::vector<std::string> paths,
                   bundle::ListFiles(directory));
  std::vector<bundle::UploadFile> files;
  for (const std::string& path : paths) {
    if (path == bundle::kUploadState) continue;
    std::error_code error;
    const uint64_t size = fs::file_size(directory / path, error);
    if (error) return absl::DataLossError(error.message());
    files.push_back({.path = path,
                     .size_bytes = size,
                     .sha256 = "",
                     .received_bytes = size});
  }
  return files;
}

}  // namespace

absl::Status ValidateCheckpoint(const fs::path& directory) {
  return AsCallersMistake(Validate(directory));
}

absl::StatusOr<CheckpointSummary> DescribeCheckpoint(
    const fs::path& directory) {
  CheckpointSummary summary;
  ASSIGN_OR_RETURN(const bundle::ModelFiles files,
                   bundle::OpenCheckpoint(directory));
  ASSIGN_OR_RETURN(summary.graph, model::Import(files.configs, *files.tensors));
  for (const std::string& name : files.tensors->Names()) {
    ASSIGN_OR_RETURN(const TensorView tensor, files.tensors->Find(name));
    summary.parameters += tensor.elements();
  }
  // A published directory is never written again: it changed last when the
  // upload's state was removed from it.
  ASSIGN_OR_RETURN(summary.create_time, ModificationTime(directory));
  ASSIGN_OR_RETURN(summary.files, Files(directory));
  return summary;
}

absl::Status RecoverUploads(const bundle::DirectoryStore& checkpoints) {
  for (const std::string& id : checkpoints.List()) {
    ASSIGN_OR_RETURN(const fs::path published, checkpoints.Find(id));
    RETURN_IF_ERROR(bundle::Upload::Forget(published));
  }
  for (const std::string& id : checkpoints.ListStaged()) {
    ASSIGN_OR_RETURN(const fs::path staged, checkpoints.FindStaged(id));
    const auto files = bundle::Upload::Inspect(staged);
    if (!absl::IsNotFound(files.status())) continue;
    RETURN_IF_ERROR(checkpoints.Discard(id));
  }
  return absl::OkStatus();
}

}  // namespace octet::rpc
