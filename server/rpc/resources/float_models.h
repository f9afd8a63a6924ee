// Float models for calibration: loaded when first needed, the last one kept,
// so that a run of streams packs a checkpoint's weights once.

#ifndef OCTET_SERVER_RPC_RESOURCES_FLOAT_MODELS_H_
#define OCTET_SERVER_RPC_RESOURCES_FLOAT_MODELS_H_

#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/bundle/directory_store.h"
#include "server/model/model.h"

namespace octet::rpc {

class FloatModels {
 public:
  // A checkpoint that is not calibrated any more gives its memory back when
  // others are, or when it is deleted.
  static constexpr size_t kKept = 1;

  // FAILED_PRECONDITION when the checkpoint has other weights by now than
  // those of `fingerprint` (fingerprint.h).
  absl::StatusOr<std::shared_ptr<const model::Model>> Load(
      const bundle::DirectoryStore& checkpoints, const std::string& id,
      std::string_view fingerprint);
  void Forget(const std::string& id);

 private:
  struct Kept {
    std::string id;
    std::string fingerprint;
    std::shared_ptr<const model::Model> model;
  };

  absl::Mutex mutex_;  // held while loading: two streams share one load
  std::deque<Kept> recent_ ABSL_GUARDED_BY(mutex_);  // most recent first
};

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_RESOURCES_FLOAT_MODELS_H_
