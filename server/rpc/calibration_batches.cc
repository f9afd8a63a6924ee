#include "server/rpc/calibration_batches.h"

#include <cstdint>
#include <memory>
#include <string>

#include "kernels/status_macros.h"
#include "server/model/str_cat.h"
#include "server/quantization/calibration/calibration.h"
#include "server/rpc/calibration_messages.h"
#include "server/rpc/resources/calibration_writer.h"
#include "server/rpc/resources/resource_names.h"
#include "server/rpc/tensors.h"

namespace octet::rpc {
namespace {

// A stream that was cut off still keeps its batches: the writer saves them.
class BatchStream final
    : public StreamHandler<v1::UploadCalibrationBatchesRequest> {
 public:
  BatchStream(Backend* backend, v1::UploadCalibrationBatchesResponse* response)
      : backend_(*backend), response_(response) {}

  absl::Status OnMessage(
      const v1::UploadCalibrationBatchesRequest& message) override {
    RETURN_IF_ERROR(SelectCalibration(message.calibration()));
    const absl::Status added = Add(message);
    if (!added.ok()) {
      RETURN_IF_ERROR(writer_->Save());
      return InsideField(model::StrCat("batches[", accepted_batches_, "]"),
                         added);
    }
    ++accepted_batches_;
    return absl::OkStatus();
  }

  absl::Status OnEnd() override {
    if (writer_ == nullptr) {
      return FieldViolation("calibration", "the stream ended before it");
    }
    RETURN_IF_ERROR(writer_->Save());
    const quantization::Calibration& calibration = writer_->calibration();
    response_->set_accepted_batches(accepted_batches_);
    response_->set_accepted_samples(
        static_cast<int64_t>(calibration.samples - samples_before_));
    return FillSummary(backend_.calibrations, id_, calibration,
                       response_->mutable_calibration());
  }

 private:
  absl::Status SelectCalibration(const std::string& name) {
    if (writer_ != nullptr) {
      if (name.empty() || name == ResourceName(kCalibrations, id_)) {
        return absl::OkStatus();
      }
      return FieldViolation("calibration", "must not change within a stream");
    }
    ASSIGN_OR_RETURN(id_, ParseName("calibration", kCalibrations, name));
    ASSIGN_OR_RETURN(writer_, CalibrationWriter::Open(&backend_, id_));
    samples_before_ = writer_->calibration().samples;
    return absl::OkStatus();
  }

  absl::Status Add(const v1::UploadCalibrationBatchesRequest& message) {
    if (message.has_inputs()) return AddInputs(message.inputs());
    if (message.has_activations()) {
      return AddActivations(message.activations());
    }
    return FieldViolation("batch", "neither inputs nor activations are set");
  }

  absl::Status AddInputs(const v1::ModelInputs& inputs) {
    ASSIGN_OR_RETURN(const model::ModelInput batch,
                     DecodeInputs(inputs, writer_->graph()));
    return writer_->Add(batch, backend_.pool);
  }

  absl::Status AddActivations(const v1::NamedActivations& activations) {
    ASSIGN_OR_RETURN(
        const FloatMatrix rows,
        FloatMatrix::Decode("activations.rows", activations.rows()));
    return writer_->Add(activations.layer(), rows.view());
  }

  Backend& backend_;
  v1::UploadCalibrationBatchesResponse* const response_;
  std::string id_;
  std::unique_ptr<CalibrationWriter> writer_;
  int64_t accepted_batches_ = 0;
  uint64_t samples_before_ = 0;
};

}  // namespace

std::unique_ptr<StreamHandler<v1::UploadCalibrationBatchesRequest>>
ReceiveCalibrationBatches(Backend* backend,
                          v1::UploadCalibrationBatchesResponse* response) {
  return std::make_unique<BatchStream>(backend, response);
}

}  // namespace octet::rpc
