#include "server/bundle/mapped_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

#include "kernels/status_macros.h"
#include "server/bundle/io.h"

namespace octet::bundle {

absl::StatusOr<MappedFile> MappedFile::Open(const std::filesystem::path& path) {
  uint64_t size = 0;
  ASSIGN_OR_RETURN(const FileDescriptor fd, OpenRegularFile(path, &size));
  if (size == 0) return MappedFile({});  // mmap refuses length 0
  void* address = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (address == MAP_FAILED) return ErrnoStatus("mmap", path);
  return MappedFile(
      absl::MakeConstSpan(static_cast<const std::byte*>(address), size));
}

void MappedFile::Release(absl::Span<const std::byte> part) const {
  if (part.empty() || part.data() < bytes_.data() ||
      part.data() + part.size() > bytes_.data() + bytes_.size()) {
    return;
  }
  static const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const auto offset = static_cast<size_t>(part.data() - bytes_.data());
  const size_t begin = offset / page * page;  // a mapping begins at a page
  auto* address = const_cast<std::byte*>(bytes_.data()) + begin;
  madvise(address, offset + part.size() - begin, MADV_DONTNEED);
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) {
    munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }
}

}  // namespace octet::bundle
