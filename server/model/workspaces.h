// Buffers that runs leave behind for later ones: as many as have run at the
// same time.

#ifndef OCTET_SERVER_MODEL_WORKSPACES_H_
#define OCTET_SERVER_MODEL_WORKSPACES_H_

#include <cstddef>
#include <mutex>
#include <utility>
#include <vector>

#include "kernels/aligned_buffer.h"

namespace octet::model {

class Workspaces {
 public:
  // Empty at first; grown by whoever uses it.
  kernels::AlignedBuffer Take() {
    const std::scoped_lock lock(mutex_);
    if (left_.empty()) return {};
    kernels::AlignedBuffer buffer = std::move(left_.back());
    left_.pop_back();
    return buffer;
  }

  void Give(kernels::AlignedBuffer buffer) {
    if (buffer.size() > kMostBytes) return;
    const std::scoped_lock lock(mutex_);
    left_.push_back(std::move(buffer));
  }

 private:
  // One long sequence must not take memory for good.
  static constexpr size_t kMostBytes = size_t{64} << 20;

  std::mutex mutex_;
  std::vector<kernels::AlignedBuffer> left_;
};

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_WORKSPACES_H_
