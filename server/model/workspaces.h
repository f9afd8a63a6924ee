// What runs leave behind for later ones: as many as have run at the same time.

#ifndef OCTET_SERVER_MODEL_WORKSPACES_H_
#define OCTET_SERVER_MODEL_WORKSPACES_H_

#include <cstddef>
#include <mutex>
#include <utility>
#include <vector>

#include "kernels/phase_clock.h"
#include "server/model/values.h"

namespace octet::model {

struct Workspace {
  Values values;
  std::vector<kernels::PhaseTimes> times;
};

class Workspaces {
 public:
  // New ones are empty.
  Workspace Take() {
    const std::scoped_lock lock(mutex_);
    if (left_.empty()) return {};
    Workspace workspace = std::move(left_.back());
    left_.pop_back();
    return workspace;
  }

  void Give(Workspace workspace) {
    if (workspace.values.bytes() > kMostBytes) return;
    const std::scoped_lock lock(mutex_);
    left_.push_back(std::move(workspace));
  }

 private:
  // One long sequence must not take memory for good.
  static constexpr size_t kMostBytes = size_t{64} << 20;

  std::mutex mutex_;
  std::vector<Workspace> left_;
};

}  // namespace octet::model

#endif  // OCTET_SERVER_MODEL_WORKSPACES_H_
