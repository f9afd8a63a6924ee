#include "kernels/aligned_buffer.h"

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>

#include "kernels/aligned_vector.h"

namespace octet::kernels {
namespace {

constexpr size_t kCacheLine = 64;
constexpr size_t kHugePage = size_t{1} << 21;

}  // namespace

AlignedBuffer::AlignedBuffer(size_t bytes)
    : AlignedBuffer(Uninitialized(bytes)) {
  if (bytes > 0) std::memset(data_.get(), 0, bytes);
}

AlignedBuffer AlignedBuffer::Uninitialized(size_t bytes) {
  AlignedBuffer buffer;
  buffer.size_ = bytes;
  if (bytes > 0) buffer.data_.reset(AllocateAligned(bytes));
  return buffer;
}

void* AllocateAligned(size_t bytes) {
  const bool huge = bytes >= kHugePage;
  void* memory = nullptr;
  if (posix_memalign(&memory, huge ? kHugePage : kCacheLine, bytes) != 0) {
    throw std::bad_alloc();
  }
#if defined(MADV_HUGEPAGE)
  // Whole pages only: what follows the buffer in its last one is not ours.
  if (huge) madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return memory;
}

}  // namespace octet::kernels
