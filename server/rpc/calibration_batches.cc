#include "server/rpc/calibration_batches.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/quantization/calibration.h"
#include "server/quantization/fingerprint.h"
#include "server/rpc/calibration_messages.h"
#include "server/rpc/resources/checkpoint_graph.h"
#include "server/rpc/resources/resource_names.h"
#include "server/rpc/tensors.h"
#include "spdlog/spdlog.h"

namespace octet::rpc {
namespace {

using quantization::Calibration;

// As the API promises: a crash costs at most this many batches of a stream.
constexpr int64_t kBatchesPerSave = 16;

class BatchStream final
    : public StreamHandler<v1::UploadCalibrationBatchesRequest> {
 public:
  BatchStream(Backend* backend, v1::UploadCalibrationBatchesResponse* response)
      : backend_(*backend), response_(response) {}

  // A stream that was cut off by the server itself still keeps its batches.
  ~BatchStream() override {
    const absl::Status saved = Save();
    if (!saved.ok()) {
      spdlog::error("calibration '{}' could not be saved: {}", id_,
                    saved.ToString());
    }
  }

  absl::Status OnMessage(
      const v1::UploadCalibrationBatchesRequest& message) override {
    RETURN_IF_ERROR(SelectCalibration(message.calibration()));
    const absl::Status observed = Observe(message);
    if (!observed.ok()) {
      RETURN_IF_ERROR(Save());
      return InsideField(model::StrCat("batches[", accepted_batches_, "]"),
                         observed);
    }
    ++accepted_batches_;
    ++unsaved_batches_;
    return unsaved_batches_ < kBatchesPerSave ? absl::OkStatus() : Save();
  }

  absl::Status OnEnd() override {
    if (!calibration_) {
      return FieldViolation("calibration", "the stream ended before it");
    }
    RETURN_IF_ERROR(Save());
    response_->set_accepted_batches(accepted_batches_);
    response_->set_accepted_samples(
        static_cast<int64_t>(calibration_->samples - samples_before_));
    return FillSummary(backend_.calibrations, id_, *calibration_,
                       response_->mutable_calibration());
  }

 private:
  absl::Status SelectCalibration(const std::string& name) {
    if (calibration_) {
      if (name.empty() || name == ResourceName(kCalibrations, id_)) {
        return absl::OkStatus();
      }
      return FieldViolation("calibration", "must not change within a stream");
    }
    ASSIGN_OR_RETURN(id_, ParseName("calibration", kCalibrations, name));
    ASSIGN_OR_RETURN(lease_, backend_.leases.Acquire(name));
    ASSIGN_OR_RETURN(Calibration loaded, backend_.calibrations.Load(id_));
    ASSIGN_OR_RETURN(CheckpointGraph checkpoint,
                     ImportGraph(backend_.checkpoints, loaded.checkpoint));
    RETURN_IF_ERROR(quantization::CheckFingerprint(loaded.fingerprint,
                                                   checkpoint.fingerprint));
    graph_ = std::move(checkpoint.graph);
    samples_before_ = loaded.samples;
    calibration_ = std::move(loaded);
    return absl::OkStatus();
  }

  absl::Status Observe(const v1::UploadCalibrationBatchesRequest& message) {
    if (message.has_inputs()) return ObserveInputs(message.inputs());
    if (message.has_activations()) {
      return ObserveActivations(message.activations());
    }
    return FieldViolation("batch", "neither inputs nor activations are set");
  }

  absl::Status ObserveInputs(const v1::ModelInputs& inputs) {
    ASSIGN_OR_RETURN(const model::ModelInput batch,
                     DecodeInputs(inputs, graph_));
    if (model_ == nullptr) {
      ASSIGN_OR_RETURN(model_,
                       backend_.float_models.Load(backend_.checkpoints,
                                                  calibration_->checkpoint));
    }
    return quantization::ObserveInputs(*model_, batch, backend_.pool,
                                       *calibration_);
  }

  absl::Status ObserveActivations(const v1::NamedActivations& activations) {
    ASSIGN_OR_RETURN(
        const FloatMatrix rows,
        FloatMatrix::Decode("activations.rows", activations.rows()));
    return quantization::ObserveActivations(graph_, activations.layer(),
                                            rows.view(), *calibration_);
  }

  absl::Status Save() {
    if (unsaved_batches_ == 0) return absl::OkStatus();
    RETURN_IF_ERROR(backend_.calibrations.Save(id_, *calibration_));
    unsaved_batches_ = 0;
    return absl::OkStatus();
  }

  Backend& backend_;
  v1::UploadCalibrationBatchesResponse* const response_;
  std::string id_;
  Lease lease_;
  model::Graph graph_;
  std::optional<Calibration> calibration_;
  std::shared_ptr<const model::Model> model_;  // when inputs come
  int64_t accepted_batches_ = 0;
  int64_t unsaved_batches_ = 0;
  uint64_t samples_before_ = 0;
};

}  // namespace

std::unique_ptr<StreamHandler<v1::UploadCalibrationBatchesRequest>>
ReceiveCalibrationBatches(Backend* backend,
                          v1::UploadCalibrationBatchesResponse* response) {
  return std::make_unique<BatchStream>(backend, response);
}

}  // namespace octet::rpc
