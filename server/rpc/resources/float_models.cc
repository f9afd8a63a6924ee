#include "server/rpc/resources/float_models.h"

#include <algorithm>
#include <filesystem>

#include "kernels/status_macros.h"
#include "server/bundle/bundle.h"
#include "server/quantization/calibration/fingerprint.h"

namespace octet::rpc {
namespace {

absl::StatusOr<std::shared_ptr<const model::Model>> LoadFrom(
    const std::filesystem::path& directory, std::string_view fingerprint) {
  ASSIGN_OR_RETURN(const bundle::ModelFiles files,
                   bundle::OpenCheckpoint(directory));
  // The id may have gone to another checkpoint since the caller looked.
  ASSIGN_OR_RETURN(const std::string actual,
                   quantization::Fingerprint(*files.tensors));
  RETURN_IF_ERROR(quantization::CheckFingerprint(fingerprint, actual));
  return bundle::LoadFloatModel(files);
}

}  // namespace

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
  auto model = LoadFrom(directory, fingerprint);
  if (!model.ok()) return checkpoints.WhyUnreadable(id, model.status());
  recent_.push_front({id, std::string(fingerprint), *model});
  if (recent_.size() > kKept) recent_.pop_back();
  return model;
}

void FloatModels::Forget(const std::string& id) {
  absl::MutexLock lock(&mutex_);
  std::erase_if(recent_, [&](const Kept& kept) { return kept.id == id; });
}

}  // namespace octet::rpc
