#include "kernels/aligned_buffer.h"

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>

namespace octet::kernels {
namespace {

constexpr size_t kCacheLine = 64;
constexpr size_t kHugePage = size_t{1} << 21;

}  // namespace

AlignedBuffer::AlignedBuffer(size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  const bool huge = bytes >= kHugePage;
  void* memory = nullptr;
  if (posix_memalign(&memory, huge ? kHugePage : kCacheLine, bytes) != 0) {
    throw std::bad_alloc();
  }
  data_.reset(memory);
#if defined(MADV_HUGEPAGE)
  // Whole pages only: what follows the buffer in its last one is not ours.
  if (huge) madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  std::memset(memory, 0, bytes);
}

}  // namespace octet::kernels
