#include "server/bundle/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "kernels/status_macros.h"
#include "server/bundle/directory_store.h"
#include "server/bundle/io.h"
#include "server/bundle/mapped_file.h"
#include "server/model/str_cat.h"

namespace octet::bundle {

namespace fs = std::filesystem;

namespace {

constexpr size_t kPiece = size_t{256} << 10;
constexpr size_t kTarBlock = 512;
constexpr size_t kMaxEntries = 4096;

using ArchiveWriter = std::unique_ptr<archive, decltype(&archive_write_free)>;
using ArchiveReader = std::unique_ptr<archive, decltype(&archive_read_free)>;
using Entry = std::unique_ptr<archive_entry, decltype(&archive_entry_free)>;

std::string ErrorOf(archive* handle) {
  const char* text = archive_error_string(handle);
  return text == nullptr ? "unknown error" : text;
}

// --- writing ---------------------------------------------------------------

// What libarchive's write callback hands pieces to.
struct Outlet {
  ArchiveSink sink;
  absl::Status status;
  std::shared_ptr<const MappedFile> file;  // of the entry that is written
};

bool IsIn(const MappedFile& file, const char* bytes) {
  const auto* begin = reinterpret_cast<const char*>(file.bytes().data());
  const std::less<const char*> before;  // also where the two are not related
  return !before(bytes, begin) && before(bytes, begin + file.bytes().size());
}

// After an error, what is still written goes nowhere. libarchive is not told:
// a handle that has failed never frees its buffers.
la_ssize_t Emit(archive* /*handle*/, void* data, const void* buffer,
                size_t size) {
  auto& outlet = *static_cast<Outlet*>(data);
  const auto* bytes = static_cast<const char*>(buffer);
  if (outlet.status.ok()) {
    ArchivePiece piece = {std::string_view(bytes, size), nullptr};
    if (outlet.file && IsIn(*outlet.file, bytes)) piece.file = outlet.file;
    outlet.status = outlet.sink(piece);
  }
  return static_cast<la_ssize_t>(size);
}

// The sink's own error where it is the cause.
absl::Status WriteError(archive* handle, const Outlet& outlet) {
  if (!outlet.status.ok()) return outlet.status;
  return absl::InternalError(
      model::StrCat("writing the archive: ", ErrorOf(handle)));
}

absl::Status WriteEntry(archive* handle, const fs::path& directory,
                        const std::string& path, Outlet& outlet) {
  ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(directory / path));
  outlet.file = std::make_shared<const MappedFile>(std::move(file));
  absl::Span<const std::byte> left = outlet.file->bytes();
  const Entry entry(archive_entry_new(), archive_entry_free);
  archive_entry_set_pathname(entry.get(), path.c_str());
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  archive_entry_set_perm(entry.get(), 0644);
  archive_entry_set_mtime(entry.get(), 0, 0);
  archive_entry_set_size(entry.get(), static_cast<la_int64_t>(left.size()));
  if (archive_write_header(handle, entry.get()) != ARCHIVE_OK) {
    return WriteError(handle, outlet);
  }
  while (!left.empty()) {  // in one call, unless it is larger than an int
    const la_ssize_t written =
        archive_write_data(handle, left.data(), left.size());
    if (written <= 0) return WriteError(handle, outlet);
    RETURN_IF_ERROR(outlet.status);
    left.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

// --- reading ---------------------------------------------------------------

absl::Status Refuse(std::string_view path, std::string_view why) {
  return absl::InvalidArgumentError(
      model::StrCat("archive: the entry ", Quoted(path), " ", why));
}

absl::Status ReadError(archive* handle) {
  return absl::InvalidArgumentError(
      model::StrCat("archive: not a whole tar stream: ", ErrorOf(handle)));
}

// One pass over an archive that nobody vouches for.
class Unpacker {
 public:
  Unpacker(archive* handle, absl::Span<const std::byte> file,
           fs::path directory, uint64_t max_bytes)
      : handle_(handle),
        file_(file),
        directory_(std::move(directory)),
        max_bytes_(max_bytes) {}

  absl::Status Run() {
    while (true) {
      archive_entry* entry = nullptr;
      const int result = archive_read_next_header(handle_, &entry);
      if (result == ARCHIVE_EOF) return CheckEnd();
      if (result != ARCHIVE_OK) return ReadError(handle_);
      RETURN_IF_ERROR(Take(entry));
    }
  }

 private:
  absl::Status Take(archive_entry* entry) {
    const char* name = archive_entry_pathname(entry);
    if (name == nullptr) return Refuse("", "has no readable name");
    std::string path = name;
    if (++entries_ > kMaxEntries) {
      return absl::ResourceExhaustedError(
          model::StrCat("archive: more than ", kMaxEntries, " entries"));
    }
    if (archive_entry_hardlink(entry) != nullptr ||
        archive_entry_symlink(entry) != nullptr) {
      return Refuse(path, "is a link");
    }
    const auto type = archive_entry_filetype(entry);
    // Directories come with the files below them; tar adds entries of their
    // own, which say nothing.
    if (type == AE_IFDIR && path.ends_with('/')) path.pop_back();
    RETURN_IF_ERROR(ValidateRelativePath("archive", path));
    if (type == AE_IFDIR) return absl::OkStatus();
    if (type != AE_IFREG) return Refuse(path, "is not a regular file");
    if (archive_entry_sparse_count(entry) > 0) return Refuse(path, "is sparse");
    if (!paths_.insert(path).second) return Refuse(path, "occurs twice");
    return Unpack(entry, path);
  }

  absl::Status Unpack(archive_entry* entry, const std::string& path) {
    const la_int64_t size = archive_entry_size(entry);
    if (size < 0 || !archive_entry_size_is_set(entry)) {
      return Refuse(path, "has no size");
    }
    if (static_cast<uint64_t>(size) > max_bytes_ - unpacked_) {
      return absl::ResourceExhaustedError(model::StrCat(
          "archive: its files are over the limit of ", max_bytes_, " bytes"));
    }
    const fs::path target = directory_ / path;
    std::error_code error;
    fs::create_directories(target.parent_path(), error);
    if (error) return Refuse(path, "is below a path that is a file");
    absl::StatusOr<FileDescriptor> fd =
        OpenFile(target, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
    if (absl::IsAlreadyExists(fd.status())) {
      return Refuse(path, "is there already");
    }
    RETURN_IF_ERROR(fd.status());
    return CopyData(fd->get(), target, static_cast<uint64_t>(size));
  }

  absl::Status CopyData(int fd, const fs::path& target, uint64_t size) {
    std::vector<char> buffer(kPiece);
    uint64_t copied = 0;
    while (true) {
      const la_ssize_t got =
          archive_read_data(handle_, buffer.data(), buffer.size());
      if (got < 0) return ReadError(handle_);
      if (got == 0) break;
      copied += static_cast<uint64_t>(got);
      if (copied > size)
        return Refuse(target.filename().string(), "is longer than it says");
      RETURN_IF_ERROR(WriteAll(
          fd, std::string_view(buffer.data(), static_cast<size_t>(got)),
          target));
    }
    if (copied != size) {
      return Refuse(target.filename().string(), "is truncated");
    }
    unpacked_ += size;
    data_end_ = static_cast<uint64_t>(archive_filter_bytes(handle_, 0));
    return absl::OkStatus();
  }

  // libarchive takes the end of the bytes for the end of the archive. A whole
  // one has two blocks of zeros after the last entry, and only zeros then.
  absl::Status CheckEnd() const {
    const uint64_t read =
        static_cast<uint64_t>(archive_filter_bytes(handle_, 0));
    const uint64_t entries_end =
        (data_end_ + kTarBlock - 1) / kTarBlock * kTarBlock;
    if (file_.size() % kTarBlock != 0 || read > file_.size() ||
        read < entries_end + 2 * kTarBlock) {
      return absl::InvalidArgumentError(
          "archive: truncated: the two zero blocks at the end are missing");
    }
    const auto rest = file_.subspan(read - 2 * kTarBlock);
    if (std::all_of(rest.begin(), rest.end(),
                    [](std::byte b) { return b == std::byte{0}; })) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(
        "archive: bytes follow the end of the archive");
  }

  archive* handle_;
  absl::Span<const std::byte> file_;
  fs::path directory_;
  uint64_t max_bytes_;
  uint64_t unpacked_ = 0;
  uint64_t data_end_ = 0;  // position after the last file's bytes
  size_t entries_ = 0;
  std::set<std::string> paths_;
};

}  // namespace

absl::Status WriteArchive(const fs::path& directory, ArchiveSink sink) {
  ASSIGN_OR_RETURN(const std::vector<std::string> files, ListFiles(directory));
  Outlet outlet{sink, absl::OkStatus(), nullptr};
  const ArchiveWriter handle(archive_write_new(), archive_write_free);
  // ustar, with a pax header where a size or a name does not fit one.
  archive_write_set_format_pax_restricted(handle.get());
  // No blocks: what is written passes through as it is, without a copy.
  archive_write_set_bytes_per_block(handle.get(), 0);
  if (archive_write_open(handle.get(), &outlet, nullptr, Emit, nullptr) !=
      ARCHIVE_OK) {
    return WriteError(handle.get(), outlet);
  }
  for (const std::string& file : files) {
    const absl::Status written =
        WriteEntry(handle.get(), directory, file, outlet);
    if (!written.ok()) {
      outlet.status = written;  // so that closing emits no more
      return written;
    }
  }
  if (archive_write_close(handle.get()) != ARCHIVE_OK) {
    return WriteError(handle.get(), outlet);
  }
  return outlet.status;
}

absl::Status ReadArchive(const fs::path& archive_path,
                         const fs::path& directory, uint64_t max_bytes) {
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(archive_path));
  const ArchiveReader handle(archive_read_new(), archive_read_free);
  archive_read_support_format_tar(handle.get());
  if (archive_read_open_memory(handle.get(), file.bytes().data(),
                               file.bytes().size()) != ARCHIVE_OK) {
    return ReadError(handle.get());
  }
  return Unpacker(handle.get(), file.bytes(), directory, max_bytes).Run();
}

}  // namespace octet::bundle
