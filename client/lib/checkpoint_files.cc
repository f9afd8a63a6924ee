#include "client/lib/checkpoint_files.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/lib/digest.h"
#include "client/lib/local_files.h"
#include "client/lib/status_macros.h"

namespace octet::client {
namespace {

namespace fs = std::filesystem;

constexpr uintmax_t kSmallFileBytes = uintmax_t{64} << 20;

bool Wanted(const fs::directory_entry& entry) {
  const std::string name = entry.path().filename().string();
  std::error_code error;
  if (absl::StartsWith(name, ".") || !entry.is_regular_file(error)) {
    return false;
  }
  if (absl::EndsWith(name, ".safetensors")) return true;
  return (absl::EndsWith(name, ".json") || absl::EndsWith(name, ".txt")) &&
         entry.file_size(error) <= kSmallFileBytes;
}

// Files of `directory` and of the directories right below it.
absl::StatusOr<std::vector<fs::path>> Walk(const fs::path& directory) {
  std::vector<fs::path> found;
  std::error_code error;
  fs::recursive_directory_iterator it(directory, error);
  for (; !error && it != fs::recursive_directory_iterator();
       it.increment(error)) {
    const bool hidden = absl::StartsWith(it->path().filename().string(), ".");
    if (it->is_directory(error)) {
      if (hidden || it.depth() >= 1) it.disable_recursion_pending();
    } else if (Wanted(*it)) {
      found.push_back(it->path());
    }
  }
  if (error) return CannotRead(directory, error.value());
  std::sort(found.begin(), found.end());
  return found;
}

absl::Status CheckComplete(const fs::path& directory,
                           const std::vector<v1::UploadedFile>& files) {
  const auto any = [&](auto&& matches) {
    return std::any_of(files.begin(), files.end(), matches);
  };
  if (!any([](const auto& f) { return f.path() == "config.json"; })) {
    return absl::InvalidArgumentError(
        absl::StrCat(directory.string(), " has no config.json"));
  }
  if (!any([](const auto& f) {
        return absl::EndsWith(f.path(), ".safetensors");
      })) {
    return absl::InvalidArgumentError(
        absl::StrCat(directory.string(), " has no *.safetensors file"));
  }
  return absl::OkStatus();
}

absl::Status HashAll(const fs::path& directory, HashingFn on_hashed,
                     std::vector<v1::UploadedFile>* files) {
  int64_t done = 0;
  int64_t total = 0;
  for (const v1::UploadedFile& file : *files) total += file.size_bytes();
  for (v1::UploadedFile& file : *files) {
    ASSIGN_OR_RETURN(*file.mutable_sha256(),
                     Sha256OfFile(directory / file.path(), [&](int64_t bytes) {
                       done += bytes;
                       return on_hashed(done, total);
                     }));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<v1::UploadedFile>> ListCheckpointFiles(
    const fs::path& directory, HashingFn on_hashed) {
  ASSIGN_OR_RETURN(const std::vector<fs::path> paths, Walk(directory));
  std::vector<v1::UploadedFile> files;
  for (const fs::path& path : paths) {
    v1::UploadedFile file;
    file.set_path(path.lexically_relative(directory).generic_string());
    ASSIGN_OR_RETURN(const int64_t size, SizeOf(path));
    file.set_size_bytes(size);
    files.push_back(std::move(file));
  }
  RETURN_IF_ERROR(CheckComplete(directory, files));
  RETURN_IF_ERROR(HashAll(directory, on_hashed, &files));
  return files;
}

absl::StatusOr<int64_t> SizeOf(const fs::path& path) {
  std::error_code error;
  const auto size = static_cast<int64_t>(fs::file_size(path, error));
  if (!error) return size;
  return CannotRead(path, error.value());
}

absl::Status ReadChunks(const fs::path& path, int64_t offset, int64_t size,
                        ChunkSink sink) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file || !file.seekg(offset)) return CannotRead(path, errno);
  while (offset < size) {
    Chunk chunk;
    chunk.offset = offset;
    chunk.data.resize(
        std::min<size_t>(kChunkBytes, static_cast<size_t>(size - offset)));
    if (!file.read(chunk.data.data(),
                   static_cast<std::streamsize>(chunk.data.size()))) {
      return absl::DataLossError(absl::StrCat(
          path.string(), " ended before byte ", size, "; it has changed"));
    }
    offset += static_cast<int64_t>(chunk.data.size());
    chunk.crc32c = Crc32c(chunk.data);
    if (!sink(std::move(chunk))) break;
  }
  return absl::OkStatus();
}

}  // namespace octet::client
