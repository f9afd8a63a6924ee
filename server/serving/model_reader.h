// Reads a model, ready to be served: opened, checked, packed and warmed up.
//
//   "bundles/{id}"      as it was quantized
//   "checkpoints/{id}"  in float

#ifndef OCTET_SERVER_SERVING_MODEL_READER_H_
#define OCTET_SERVER_SERVING_MODEL_READER_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/int8_linear.h"
#include "server/bundle/bundle.h"
#include "server/bundle/directory_store.h"
#include "server/model/model.h"
#include "server/serving/loaded_model.h"
#include "server/telemetry/metrics.h"

namespace octet::serving {

struct PreparedModel {
  std::unique_ptr<const model::Model> model;
  telemetry::ModelDescription description;
  Watch watch;
  std::string checkpoint;  // that a bundle was made from
};

class ModelReader {
 public:
  // Both must outlive it.
  ModelReader(const bundle::DirectoryStore* checkpoints,
              const bundle::DirectoryStore* bundles);

  // Multiplies the INT8 layers of what is read from now on. Where it cannot,
  // Octet's own kernels do, and a line in the log says why.
  void set_int8_backend(kernels::Int8Backend backend) {
    int8_backend_ = backend;
  }

  // Errors: INVALID_ARGUMENT (source), NOT_FOUND, DATA_LOSS (files),
  // FAILED_PRECONDITION (another format version; the model gives no answer).
  absl::StatusOr<PreparedModel> Read(std::string_view source,
                                     bundle::Verify verify) const;

  // The float checkpoint that a bundle was made from, for comparisons of that
  // share of the answers; none where it is 0. FAILED_PRECONDITION when it
  // cannot be had, DATA_LOSS when its files are damaged.
  absl::Status AddReference(double shadow_rate, PreparedModel& loaded) const;

 private:
  const bundle::DirectoryStore* const checkpoints_;
  const bundle::DirectoryStore* const bundles_;
  kernels::Int8Backend int8_backend_ = kernels::Int8Backend::kOwn;
};

}  // namespace octet::serving

#endif  // OCTET_SERVER_SERVING_MODEL_READER_H_
