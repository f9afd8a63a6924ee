// Memory for kernels: aligned to a cache line, and to a huge page where it is
// as large as one, so that streaming weights does not wait for the TLB.

#ifndef OCTET_KERNELS_ALIGNED_BUFFER_H_
#define OCTET_KERNELS_ALIGNED_BUFFER_H_

#include <cstddef>
#include <cstdlib>
#include <memory>

namespace octet::kernels {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  // Zeroed. Throws std::bad_alloc, like new.
  explicit AlignedBuffer(size_t bytes);
  // For what is overwritten whole: untouched memory costs nothing yet.
  static AlignedBuffer Uninitialized(size_t bytes);

  // Grows to at least `bytes`; what was inside is lost when it does.
  void Reserve(size_t bytes) {
    if (bytes > size_) *this = AlignedBuffer(bytes);
  }

  template <typename T>
  T* As() const {
    return static_cast<T*>(data_.get());
  }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> data_;
  size_t size_ = 0;
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_ALIGNED_BUFFER_H_
