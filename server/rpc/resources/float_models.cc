#include "server/rpc/resources/float_models.h"

#include <algorithm>
#include <utility>

#include "kernels/status_macros.h"
#include "server/bundle/bundle.h"
#include "server/quantization/calibration/fingerprint.h"

namespace octet::rpc {

absl::StatusOr<std::shared_ptr<const model::Model>> FloatModels::Load(
    const bundle::DirectoryStore& checkpoints, const std::string& id,
    std::string_view fingerprint) {
  absl::MutexLock lock(&mutex_);
  const auto found =
      std::find_if(recent_.begin(), recent_.end(), [&](const Kept& kept) {
        return kept.id == id && kept.fingerprint == fingerprint;
      });
  if (found != recent_.end()) {
    std::rotate(recent_.begin(), found, found + 1);
    return recent_.front().model;
  }
  ASSIGN_OR_RETURN(const auto directory, checkpoints.Find(id));
  ASSIGN_OR_RETURN(const bundle::ModelFiles files,
                   bundle::OpenCheckpoint(directory));
  // The id may have gone to another checkpoint since the caller looked.
  ASSIGN_OR_RETURN(std::string actual,
                   quantization::Fingerprint(*files.tensors));
  RETURN_IF_ERROR(quantization::CheckFingerprint(fingerprint, actual));
  ASSIGN_OR_RETURN(std::shared_ptr<const model::Model> model,
                   bundle::LoadFloatModel(files));
  recent_.push_front({id, std::move(actual), model});
  if (recent_.size() > kKept) recent_.pop_back();
  return model;
}

void FloatModels::Forget(const std::string& id) {
  absl::MutexLock lock(&mutex_);
  std::erase_if(recent_, [&](const Kept& kept) { return kept.id == id; });
}

}  // namespace octet::rpc
