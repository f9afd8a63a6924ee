#include "server/rpc/resources/float_models.h"

#include <algorithm>

#include "kernels/status_macros.h"
#include "server/bundle/bundle.h"

namespace octet::rpc {

absl::StatusOr<std::shared_ptr<const model::Model>> FloatModels::Load(
    const bundle::DirectoryStore& checkpoints, const std::string& id) {
  absl::MutexLock lock(&mutex_);
  const auto found =
      std::find_if(recent_.begin(), recent_.end(),
                   [&](const auto& kept) { return kept.first == id; });
  if (found != recent_.end()) {
    std::rotate(recent_.begin(), found, found + 1);
    return recent_.front().second;
  }
  ASSIGN_OR_RETURN(const auto directory, checkpoints.Find(id));
  ASSIGN_OR_RETURN(const bundle::ModelFiles files,
                   bundle::OpenCheckpoint(directory));
  ASSIGN_OR_RETURN(std::shared_ptr<const model::Model> model,
                   bundle::LoadFloatModel(files));
  recent_.emplace_front(id, model);
  if (recent_.size() > kKept) recent_.pop_back();
  return model;
}

void FloatModels::Forget(const std::string& id) {
  absl::MutexLock lock(&mutex_);
  std::erase_if(recent_, [&](const auto& kept) { return kept.first == id; });
}

}  // namespace octet::rpc
