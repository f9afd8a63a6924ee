// Which files of a directory make a checkpoint, and their bytes in chunks.
//
// Taken, in the directory and one level below it: *.safetensors, *.json and
// *.txt (vocab.txt, merges.txt), so that weights, configuration and tokenizer
// travel together. Hidden files, other formats of the same weights (*.bin,
// *.onnx) and JSON or text beyond 64 MiB stay behind. Links to files are
// followed: the Hugging Face cache is made of them.

#ifndef OCTET_CLIENT_LIB_CHECKPOINT_FILES_H_
#define OCTET_CLIENT_LIB_CHECKPOINT_FILES_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "octet/v1/checkpoint_service.pb.h"

namespace octet::client {

// proto/octet/v1: "about 1 MiB is a good size, 4 MiB the limit".
inline constexpr size_t kChunkBytes = size_t{1} << 20;

// Hears how many bytes of all files have been hashed; an error ends it.
using HashingFn = absl::FunctionRef<absl::Status(int64_t done, int64_t total)>;

// Relative paths with sizes and SHA-256, sorted. INVALID_ARGUMENT when there is
// no *.safetensors or no config.json.
absl::StatusOr<std::vector<v1::UploadedFile>> ListCheckpointFiles(
    const std::filesystem::path& directory, HashingFn on_hashed);

// NOT_FOUND, PERMISSION_DENIED and the like for a file that cannot be read.
absl::StatusOr<int64_t> SizeOf(const std::filesystem::path& path);

struct Chunk {
  int64_t offset = 0;
  std::string data;
  uint32_t crc32c = 0;
};

// Receives a chunk; false stops the reading.
using ChunkSink = absl::FunctionRef<bool(Chunk chunk)>;

// Reads a file from `offset` to `size` in chunks. An error as from SizeOf when
// it cannot be opened, DATA_LOSS when it is shorter than that. OK when the sink
// stopped it.
absl::Status ReadChunks(const std::filesystem::path& path, int64_t offset,
                        int64_t size, ChunkSink sink);

}  // namespace octet::client

#endif  // OCTET_CLIENT_LIB_CHECKPOINT_FILES_H_
