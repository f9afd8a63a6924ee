#include "client/lib/archive.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <memory>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/lib/checkpoint_files.h"
#include "client/lib/status_macros.h"

namespace octet::client {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBlock = size_t{1} << 18;

struct FreeArchive {
  void operator()(archive* a) const { archive_free(a); }
};
struct FreeEntry {
  void operator()(archive_entry* e) const { archive_entry_free(e); }
};
using ArchivePtr = std::unique_ptr<archive, FreeArchive>;
using EntryPtr = std::unique_ptr<archive_entry, FreeEntry>;

absl::Status ArchiveError(archive* a, const fs::path& path) {
  const char* text = archive_error_string(a);
  return absl::InvalidArgumentError(absl::StrCat(
      path.string(), ": ", text != nullptr ? text : "not a readable tar"));
}

absl::StatusOr<std::vector<fs::path>> RegularFiles(const fs::path& directory) {
  std::vector<fs::path> files;
  std::error_code error;
  fs::recursive_directory_iterator it(directory, error);
  for (; !error && it != fs::recursive_directory_iterator();
       it.increment(error)) {
    if (it->is_regular_file(error)) files.push_back(it->path());
  }
  if (error) return CannotRead(directory, error.value());
  std::sort(files.begin(), files.end());
  return files;
}

// For a full disk, say.
absl::Status CannotPack(archive* out, const fs::path& path) {
  const char* text = archive_error_string(out);
  const int error = archive_errno(out);
  return absl::Status(
      absl::ErrnoToStatusCode(error != 0 ? error : EIO),
      absl::StrCat("cannot pack ", path.string(), ": ",
                   text != nullptr ? text : "the tar cannot be written"));
}

absl::Status AddHeader(archive* out, const fs::path& name, int64_t size) {
  const EntryPtr entry(archive_entry_new());
  archive_entry_set_pathname(entry.get(), name.generic_string().c_str());
  archive_entry_set_size(entry.get(), size);
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  archive_entry_set_perm(entry.get(), 0644);
  return archive_write_header(out, entry.get()) == ARCHIVE_OK
             ? absl::OkStatus()
             : CannotPack(out, name);
}

absl::Status AddFile(archive* out, const fs::path& directory,
                     const fs::path& path, BlockFn on_block) {
  ASSIGN_OR_RETURN(const int64_t size, SizeOf(path));
  RETURN_IF_ERROR(AddHeader(out, path.lexically_relative(directory), size));
  absl::Status status;
  RETURN_IF_ERROR(ReadChunks(path, 0, size, [&](const Chunk& chunk) {
    if (archive_write_data(out, chunk.data.data(), chunk.data.size()) < 0) {
      status = CannotPack(out, path);
    } else {
      status = on_block(static_cast<int64_t>(chunk.data.size()));
    }
    return status.ok();
  }));
  return status;
}

bool SafePath(const fs::path& path) {
  return !path.empty() && path.is_relative() &&
         std::none_of(path.begin(), path.end(),
                      [](const fs::path& part) { return part == ".."; });
}

absl::Status ExtractFile(archive* in, archive_entry* entry,
                         const fs::path& directory, BlockFn on_block) {
  const char* name = archive_entry_pathname(entry);
  const fs::path path(name != nullptr ? name : "");
  if (archive_entry_filetype(entry) == AE_IFDIR) return absl::OkStatus();
  if (archive_entry_filetype(entry) != AE_IFREG ||
      archive_entry_hardlink(entry) != nullptr || !SafePath(path)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the tar's '", path.string(),
                     "' is not a regular file below its directory"));
  }
  std::error_code error;
  fs::create_directories((directory / path).parent_path(), error);
  std::ofstream file(directory / path, std::ios::binary);
  std::vector<char> block(kBlock);
  la_ssize_t size = 0;
  while ((size = archive_read_data(in, block.data(), block.size())) > 0) {
    file.write(block.data(), size);
    RETURN_IF_ERROR(on_block(size));
  }
  if (size < 0) return ArchiveError(in, path);
  if (!file.flush()) {
    return absl::UnknownError(
        absl::StrCat("cannot write ", (directory / path).string()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Pack(const fs::path& directory, const fs::path& path,
                  BlockFn on_block) {
  ASSIGN_OR_RETURN(const std::vector<fs::path> files, RegularFiles(directory));
  const ArchivePtr out(archive_write_new());
  archive_write_set_format_pax_restricted(out.get());
  if (archive_write_open_filename(out.get(), path.c_str()) != ARCHIVE_OK) {
    return CannotPack(out.get(), path);
  }
  for (const fs::path& file : files) {
    RETURN_IF_ERROR(AddFile(out.get(), directory, file, on_block));
  }
  if (archive_write_close(out.get()) != ARCHIVE_OK) {
    return CannotPack(out.get(), path);
  }
  return absl::OkStatus();
}

absl::Status Unpack(const fs::path& path, const fs::path& directory,
                    BlockFn on_block) {
  const ArchivePtr in(archive_read_new());
  archive_read_support_format_tar(in.get());
  if (archive_read_open_filename(in.get(), path.c_str(), kBlock) !=
      ARCHIVE_OK) {
    return ArchiveError(in.get(), path);
  }
  std::error_code error;
  fs::create_directories(directory, error);
  archive_entry* entry = nullptr;
  int result = ARCHIVE_OK;
  while ((result = archive_read_next_header(in.get(), &entry)) == ARCHIVE_OK) {
    RETURN_IF_ERROR(ExtractFile(in.get(), entry, directory, on_block));
  }
  return result == ARCHIVE_EOF ? absl::OkStatus()
                               : ArchiveError(in.get(), path);
}

}  // namespace octet::client
