// Vectors in the memory of an AlignedBuffer, for what is overwritten whole:
// elements that are made without a value have none yet.

#ifndef OCTET_KERNELS_ALIGNED_VECTOR_H_
#define OCTET_KERNELS_ALIGNED_VECTOR_H_

#include <cstddef>
#include <cstdlib>
#include <new>
#include <utility>
#include <vector>

namespace octet::kernels {

// As AlignedBuffer::Uninitialized; for std::free.
void* AllocateAligned(size_t bytes);

template <typename T>
struct AlignedAllocator {
  using value_type = T;

  AlignedAllocator() = default;
  template <typename U>
  // NOLINTNEXTLINE(google-explicit-constructor): containers convert them.
  AlignedAllocator(const AlignedAllocator<U>& /*other*/) {}

  T* allocate(size_t count) {
    return static_cast<T*>(AllocateAligned(count * sizeof(T)));
  }
  void deallocate(T* memory, size_t /*count*/) { std::free(memory); }

  template <typename U>
  void construct(U* at) {
    ::new (static_cast<void*>(at)) U;
  }
  template <typename U, typename... Args>
  void construct(U* at, Args&&... args) {
    ::new (static_cast<void*>(at)) U(std::forward<Args>(args)...);
  }

  template <typename U>
  bool operator==(const AlignedAllocator<U>& /*other*/) const {
    return true;
  }
};

template <typename T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_ALIGNED_VECTOR_H_
