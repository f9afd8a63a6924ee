#include "server/rpc/oip/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/rpc/calls/status.h"

namespace octet::rpc::oip {
namespace {

using model::StrCat;

constexpr size_t kMaxRegions = 256;  // each is an open descriptor
constexpr size_t kMaxNameBytes = 255;

// shm_open(3): perhaps a slash, and no other one.
absl::Status CheckKey(std::string_view key) {
  const std::string_view name = key.starts_with('/') ? key.substr(1) : key;
  if (!name.empty() && name.size() < kMaxNameBytes &&
      name.find('/') == std::string_view::npos &&
      name.find('\0') == std::string_view::npos) {
    return absl::OkStatus();
  }
  return FieldViolation(
      "key",
      StrCat(bundle::Quoted(key), " is not the name of a memory object: 1 to ",
             kMaxNameBytes - 1, " bytes, without '/' but at its start"));
}

absl::Status WhyNotOpen(std::string_view key) {
  const int error = errno;
  const std::string name = bundle::Quoted(key);
  if (error == ENOENT) {
    return absl::NotFoundError(
        StrCat("there is no memory object ", name, " on the server's machine"));
  }
  if (error == EACCES) {
    return absl::PermissionDeniedError(
        StrCat("the server may not read and write the memory object ", name));
  }
  return FieldViolation("key",
                        StrCat(name, " cannot be opened: ", strerror(error)));
}

// pread or pwrite, until all is done.
template <typename Call>
absl::Status All(size_t size, uint64_t at, const Call& call) {
  for (size_t done = 0; done < size;) {
    const ssize_t moved =
        call(done, size - done, static_cast<off_t>(at + done));
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0) {
      return absl::InvalidArgumentError(
          StrCat("the memory object cannot be used: ", strerror(errno)));
    }
    if (moved == 0) {
      return absl::InvalidArgumentError(
          "the memory object has become smaller than its region");
    }
    done += static_cast<size_t>(moved);
  }
  return absl::OkStatus();
}

}  // namespace

SharedRegion::SharedRegion(std::string key, uint64_t offset, uint64_t byte_size,
                           bundle::FileDescriptor file)
    : key_(std::move(key)),
      offset_(offset),
      byte_size_(byte_size),
      file_(std::move(file)) {}

absl::StatusOr<std::shared_ptr<const SharedRegion>> SharedRegion::Open(
    std::string key, uint64_t offset, uint64_t byte_size) {
  RETURN_IF_ERROR(CheckKey(key));
  if (byte_size == 0) return FieldViolation("byte_size", "must be at least 1");
  bundle::FileDescriptor file(shm_open(key.c_str(), O_RDWR, 0));
  if (file.get() < 0) return WhyNotOpen(key);
  struct stat status{};
  if (fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    return FieldViolation(
        "key", StrCat(bundle::Quoted(key), " is not a memory object"));
  }
  const auto size = static_cast<uint64_t>(status.st_size);
  if (offset > size || byte_size > size - offset) {
    return FieldViolation("byte_size",
                          StrCat(byte_size, " bytes at offset ", offset,
                                 " are more than memory object ",
                                 bundle::Quoted(key), " has: ", size));
  }
  return std::shared_ptr<const SharedRegion>(
      new SharedRegion(std::move(key), offset, byte_size, std::move(file)));
}

absl::Status SharedRegion::CheckRange(uint64_t at, uint64_t size) const {
  if (at <= byte_size_ && size <= byte_size_ - at) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat(size, " bytes at offset ", at,
                                           " are beyond the region, which has ",
                                           byte_size_));
}

// Writing beyond the end would make the object grow again.
absl::Status SharedRegion::CheckObject(uint64_t end) const {
  struct stat status{};
  if (fstat(file_.get(), &status) == 0 &&
      end <= static_cast<uint64_t>(status.st_size)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "the memory object has become smaller than its region");
}

absl::Status SharedRegion::Read(uint64_t at, absl::Span<char> to) const {
  RETURN_IF_ERROR(CheckRange(at, to.size()));
  return All(to.size(), offset_ + at,
             [&](size_t done, size_t size, off_t where) {
               return pread(file_.get(), to.data() + done, size, where);
             });
}

absl::Status SharedRegion::Write(uint64_t at, std::string_view from) const {
  RETURN_IF_ERROR(CheckRange(at, from.size()));
  RETURN_IF_ERROR(CheckObject(offset_ + at + from.size()));
  return All(from.size(), offset_ + at,
             [&](size_t done, size_t size, off_t where) {
               return pwrite(file_.get(), from.data() + done, size, where);
             });
}

absl::Status SharedMemory::CheckAllowed() const {
  if (allowed_) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "shared memory is off; the server's flag --allow-shared-memory turns it "
      "on");
}

absl::Status SharedMemory::Register(const std::string& name,
                                    const std::string& key, uint64_t offset,
                                    uint64_t byte_size) {
  RETURN_IF_ERROR(CheckAllowed());
  if (name.empty() || name.size() > kMaxNameBytes) {
    return FieldViolation("name", StrCat("must have 1 to ", kMaxNameBytes,
                                         " bytes; it has ", name.size()));
  }
  ASSIGN_OR_RETURN(RegionPtr region,
                   SharedRegion::Open(key, offset, byte_size));
  absl::MutexLock lock(&mutex_);
  if (regions_.contains(name)) {
    return absl::AlreadyExistsError(
        StrCat("region ", bundle::Quoted(name),
               " is registered; unregister it first"));
  }
  if (regions_.size() >= kMaxRegions) {
    return absl::ResourceExhaustedError(
        StrCat(kMaxRegions, " regions are registered; unregister one first"));
  }
  regions_.emplace(name, std::move(region));
  return absl::OkStatus();
}

void SharedMemory::Unregister(std::string_view name) {
  absl::MutexLock lock(&mutex_);
  const auto found = regions_.find(name);
  if (found != regions_.end()) regions_.erase(found);
}

void SharedMemory::UnregisterAll() {
  absl::MutexLock lock(&mutex_);
  regions_.clear();
}

absl::StatusOr<SharedMemory::RegionPtr> SharedMemory::Find(
    std::string_view name) const {
  RETURN_IF_ERROR(CheckAllowed());
  absl::MutexLock lock(&mutex_);
  const auto found = regions_.find(name);
  if (found != regions_.end()) return found->second;
  return absl::NotFoundError(
      StrCat("region ", bundle::Quoted(name), " is not registered"));
}

std::map<std::string, SharedMemory::RegionPtr, std::less<>> SharedMemory::List()
    const {
  absl::MutexLock lock(&mutex_);
  return regions_;
}

}  // namespace octet::rpc::oip
