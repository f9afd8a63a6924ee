#include "server/bundle/upload.h"

#include <fcntl.h>
#include <isa-l/crc.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <system_error>
#include <tuple>
#include <utility>

#include "absl/strings/str_format.h"
#include "kernels/status_macros.h"
#include "server/bundle/atomic_file.h"
#include "server/bundle/directory_store.h"
#include "server/bundle/io.h"
#include "server/bundle/json.h"
#include "server/bundle/sha256.h"
#include "server/model/str_cat.h"

namespace octet::bundle {

namespace fs = std::filesystem;

namespace {

constexpr uint64_t kMaxStateBytes = uint64_t{8} << 20;

absl::Status ValidateFile(const std::string& field, const UploadFile& file) {
  RETURN_IF_ERROR(
      ValidateRelativePath(model::StrCat(field, ".path"), file.path));
  if (file.path.starts_with(kUploadState)) {
    return absl::InvalidArgumentError(model::StrCat(
        field, ".path: the name ", Quoted(file.path), " is reserved"));
  }
  if (!file.sha256.empty() && !IsSha256(file.sha256)) {
    return absl::InvalidArgumentError(model::StrCat(
        field, ".sha256: must be 64 characters of [0-9a-f], or empty"));
  }
  return absl::OkStatus();
}

// No path twice, and none that would need a file to be a directory.
absl::Status ValidatePaths(const std::vector<UploadFile>& files) {
  std::set<std::string_view> paths;
  for (const UploadFile& file : files) {
    if (!paths.insert(file.path).second) {
      return absl::InvalidArgumentError(
          model::StrCat("files: ", Quoted(file.path), " is declared twice"));
    }
  }
  for (const std::string_view path : paths) {
    for (size_t slash = path.find('/'); slash != path.npos;
         slash = path.find('/', slash + 1)) {
      if (paths.contains(path.substr(0, slash))) {
        return absl::InvalidArgumentError(
            model::StrCat("files: ", Quoted(path.substr(0, slash)),
                          " is declared as a file and as a directory"));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status ValidateDeclaration(const std::vector<UploadFile>& files,
                                 const UploadLimits& limits) {
  if (files.empty()) {
    return absl::InvalidArgumentError("files: at least one must be declared");
  }
  if (files.size() > limits.max_files) {
    return absl::ResourceExhaustedError(
        model::StrCat("files: ", files.size(), " are declared; at most ",
                      limits.max_files, " are accepted"));
  }
  uint64_t total = 0;
  for (size_t i = 0; i < files.size(); ++i) {
    RETURN_IF_ERROR(ValidateFile(model::StrCat("files[", i, "]"), files[i]));
    if (__builtin_add_overflow(total, files[i].size_bytes, &total) ||
        total > limits.max_total_bytes) {
      return absl::ResourceExhaustedError(
          model::StrCat("files: the total size is over the limit of ",
                        limits.max_total_bytes, " bytes"));
    }
  }
  return ValidatePaths(files);
}

std::string StateText(const std::vector<UploadFile>& files) {
  nlohmann::json list = nlohmann::json::array();
  for (const UploadFile& file : files) {
    list.push_back({{"path", file.path},
                    {"size_bytes", file.size_bytes},
                    {"sha256", file.sha256}});
  }
  return JsonText(nlohmann::json{{"files", std::move(list)}}, 1);
}

// The state was written by this code, atomically; a wrong one is a damaged
// disk and not a caller's mistake.
absl::StatusOr<std::vector<UploadFile>> ParseState(std::string_view text) {
  const absl::Status damaged = absl::DataLossError(
      "the upload's saved state is damaged; delete the "
      "checkpoint and upload it again");
  const absl::StatusOr<nlohmann::json> state = ParseJson(kUploadState, text);
  if (!state.ok() || !state->is_object() || !state->contains("files") ||
      !(*state)["files"].is_array()) {
    return damaged;
  }
  std::vector<UploadFile> files;
  for (const nlohmann::json& entry : (*state)["files"]) {
    if (!entry.is_object() || !entry.contains("path") ||
        !entry.contains("size_bytes") || !entry.contains("sha256") ||
        !entry["path"].is_string() || !entry["sha256"].is_string() ||
        !entry["size_bytes"].is_number_unsigned()) {
      return damaged;
    }
    files.push_back({.path = entry["path"].get<std::string>(),
                     .size_bytes = entry["size_bytes"].get<uint64_t>(),
                     .sha256 = entry["sha256"].get<std::string>()});
    if (!ValidateFile("", files.back()).ok()) return damaged;
  }
  return files;
}

// Fills in `received_bytes` from the lengths on disk.
absl::Status Measure(const fs::path& staged, std::vector<UploadFile>& files) {
  for (UploadFile& file : files) {
    struct stat info;
    file.received_bytes = 0;
    if (lstat((staged / file.path).c_str(), &info) != 0) {
      if (errno == ENOENT) continue;
      return ErrnoStatus("stat", file.path);
    }
    file.received_bytes = static_cast<uint64_t>(info.st_size);
    if (!S_ISREG(info.st_mode) || file.received_bytes > file.size_bytes) {
      return absl::DataLossError(
          model::StrCat("the staged file ", Quoted(file.path),
                        " is damaged; delete the checkpoint and upload it "
                        "again"));
    }
  }
  return absl::OkStatus();
}

bool SameDeclaration(const std::vector<UploadFile>& a,
                     const std::vector<UploadFile>& b) {
  const auto sorted = [](const std::vector<UploadFile>& files) {
    std::set<std::tuple<std::string, uint64_t, std::string>> keys;
    for (const UploadFile& f : files) {
      keys.emplace(f.path, f.size_bytes, f.sha256);
    }
    return keys;
  };
  return sorted(a) == sorted(b);
}

// A staging directory without a state holds nothing that can be trusted.
absl::Status Empty(const fs::path& staged) {
  std::error_code error;
  for (fs::directory_iterator it(staged, error);
       !error && it != fs::directory_iterator(); it.increment(error)) {
    fs::remove_all(it->path(), error);
    if (error) break;
  }
  if (!error) return absl::OkStatus();
  errno = error.value();
  return ErrnoStatus("empty", staged);
}

absl::Status CreateFiles(const fs::path& staged,
                         const std::vector<UploadFile>& files) {
  for (const UploadFile& file : files) {
    const fs::path path = staged / file.path;
    std::error_code error;
    fs::create_directories(path.parent_path(), error);
    if (error) {
      errno = error.value();
      return ErrnoStatus("create", path.parent_path());
    }
    RETURN_IF_ERROR(OpenFile(path, O_WRONLY | O_CREAT | O_NOFOLLOW).status());
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> SizeOfOpen(int fd, const fs::path& path) {
  struct stat info;
  if (fstat(fd, &info) != 0) return ErrnoStatus("stat", path);
  return static_cast<uint64_t>(info.st_size);
}

}  // namespace

Upload::Upload(fs::path staged, std::vector<UploadFile> files)
    : staged_(std::move(staged)), files_(std::move(files)) {}

absl::StatusOr<Upload> Upload::Begin(const fs::path& staged,
                                     std::vector<UploadFile> files,
                                     const UploadLimits& limits) {
  RETURN_IF_ERROR(ValidateDeclaration(files, limits));
  absl::StatusOr<std::vector<UploadFile>> old = Inspect(staged);
  if (old.ok()) {
    if (!SameDeclaration(*old, files)) {
      return absl::FailedPreconditionError(
          "files: the upload that is resumed declared other files; delete it "
          "or declare the same paths, sizes and digests");
    }
    RETURN_IF_ERROR(CreateFiles(staged, *old));
    return Upload(staged, *std::move(old));
  }
  if (!absl::IsNotFound(old.status())) return old.status();
  RETURN_IF_ERROR(Empty(staged));
  RETURN_IF_ERROR(WriteFileAtomically(staged / kUploadState, StateText(files)));
  RETURN_IF_ERROR(CreateFiles(staged, files));
  for (UploadFile& file : files) file.received_bytes = 0;
  return Upload(staged, std::move(files));
}

absl::StatusOr<std::vector<UploadFile>> Upload::Inspect(
    const fs::path& staged) {
  absl::StatusOr<std::string> text =
      ReadSmallFile(staged / kUploadState, kMaxStateBytes);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError("there is no upload under way");
  }
  RETURN_IF_ERROR(text.status());
  ASSIGN_OR_RETURN(std::vector<UploadFile> files, ParseState(*text));
  RETURN_IF_ERROR(Measure(staged, files));
  return files;
}

absl::Status Upload::Append(std::string_view path, uint64_t offset,
                            std::string_view data, uint32_t crc32c) {
  const auto it = std::find_if(files_.begin(), files_.end(),
                               [&](const auto& f) { return f.path == path; });
  if (it == files_.end()) {
    return absl::NotFoundError(
        model::StrCat("the file ", Quoted(path), " was not declared"));
  }
  UploadFile& file = *it;
  const fs::path target = staged_ / file.path;
  ASSIGN_OR_RETURN(const FileDescriptor fd,
                   OpenFile(target, O_WRONLY | O_APPEND | O_NOFOLLOW));
  // Held until the descriptor closes: a second connection that resumes the
  // same upload waits, and then finds its offset taken.
  if (flock(fd.get(), LOCK_EX) != 0) return ErrnoStatus("lock", target);
  ASSIGN_OR_RETURN(file.received_bytes, SizeOfOpen(fd.get(), target));
  if (offset != file.received_bytes) {
    return absl::OutOfRangeError(
        model::StrCat("the file ", Quoted(path), " continues at offset ",
                      file.received_bytes, ", not at ", offset));
  }
  if (data.size() > file.size_bytes - file.received_bytes) {
    return absl::OutOfRangeError(model::StrCat(
        "the file ", Quoted(path), " was declared with ", file.size_bytes,
        " bytes; the chunk at ", offset, " reaches to ", offset + data.size()));
  }
  if (const uint32_t actual = Crc32c(data); actual != crc32c) {
    return absl::DataLossError(absl::StrFormat(
        "the chunk at offset %d of %s has CRC32C %08x; its crc32c says %08x",
        offset, Quoted(path), actual, crc32c));
  }
  absl::Status written = WriteAll(fd.get(), data, target);
  if (!written.ok()) {
    // Nothing of a chunk stays, so that the client's own count holds.
    if (ftruncate(fd.get(), static_cast<off_t>(file.received_bytes)) != 0) {
      return ErrnoStatus("truncate", target);
    }
    return written;
  }
  file.received_bytes += data.size();
  return absl::OkStatus();
}

bool Upload::complete() const {
  return std::all_of(files_.begin(), files_.end(), [](const UploadFile& f) {
    return f.received_bytes == f.size_bytes;
  });
}

absl::Status Upload::Verify() {
  RETURN_IF_ERROR(Measure(staged_, files_));
  for (const UploadFile& file : files_) {
    if (file.received_bytes != file.size_bytes) {
      return absl::FailedPreconditionError(model::StrCat(
          "the file ", Quoted(file.path), " is incomplete: ",
          file.received_bytes, " of ", file.size_bytes, " bytes came"));
    }
  }
  for (UploadFile& file : files_) {
    if (file.sha256.empty()) continue;
    ASSIGN_OR_RETURN(const std::string actual,
                     Sha256OfFile(staged_ / file.path));
    if (actual == file.sha256) continue;
    // Emptied, so that a resumed upload can send it again.
    if (truncate((staged_ / file.path).c_str(), 0) != 0) {
      return ErrnoStatus("truncate", staged_ / file.path);
    }
    file.received_bytes = 0;
    return absl::DataLossError(model::StrCat(
        "the file ", Quoted(file.path), " has SHA-256 ", actual, "; ",
        file.sha256, " was declared; send the file again from offset 0"));
  }
  return absl::OkStatus();
}

absl::Status Upload::Forget(const fs::path& published) {
  const fs::path state = published / kUploadState;
  if (unlink(state.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  return ErrnoStatus("remove", state);
}

uint32_t Crc32c(std::string_view data) {
  // crc32_iscsi takes and returns the raw register: RFC 3720 starts it from
  // all ones and inverts the end. Its length is an int.
  constexpr size_t kPiece = size_t{1} << 30;
  uint32_t crc = 0xFFFFFFFF;
  while (!data.empty()) {
    const std::string_view piece = data.substr(0, kPiece);
    crc = crc32_iscsi(
        reinterpret_cast<unsigned char*>(const_cast<char*>(piece.data())),
        static_cast<int>(piece.size()), crc);
    data.remove_prefix(piece.size());
  }
  return ~crc;
}

}  // namespace octet::bundle
