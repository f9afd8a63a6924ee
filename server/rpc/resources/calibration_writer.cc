#include "server/rpc/resources/calibration_writer.h"

#include <utility>

#include "kernels/status_macros.h"
#include "server/quantization/calibration/fingerprint.h"
#include "server/rpc/resources/checkpoint_graph.h"
#include "server/rpc/resources/resource_names.h"
#include "spdlog/spdlog.h"

namespace octet::rpc {

CalibrationWriter::CalibrationWriter(Backend* backend, std::string_view id,
                                     Lease lease)
    : backend_(*backend), id_(id), lease_(std::move(lease)) {}

absl::StatusOr<std::unique_ptr<CalibrationWriter>> CalibrationWriter::Open(
    Backend* backend, std::string_view id, std::string_view holder) {
  ASSIGN_OR_RETURN(Lease lease, backend->leases.Acquire(
                                    ResourceName(kCalibrations, id), holder));
  std::unique_ptr<CalibrationWriter> writer(
      new CalibrationWriter(backend, id, std::move(lease)));
  ASSIGN_OR_RETURN(writer->calibration_, backend->calibrations.Load(id));
  ASSIGN_OR_RETURN(
      CheckpointGraph checkpoint,
      ImportGraph(backend->checkpoints, writer->calibration_.checkpoint));
  RETURN_IF_ERROR(quantization::CheckFingerprint(
      writer->calibration_.fingerprint, checkpoint.fingerprint));
  writer->graph_ = std::move(checkpoint.graph);
  return writer;
}

CalibrationWriter::~CalibrationWriter() {
  const absl::Status saved = Save();
  if (!saved.ok()) {
    spdlog::error("calibration '{}' could not be saved: {}", id_,
                  saved.ToString());
  }
}

absl::Status CalibrationWriter::LoadModel() {
  if (model_ != nullptr) return absl::OkStatus();
  ASSIGN_OR_RETURN(model_, backend_.float_models.Load(
                               backend_.checkpoints, calibration_.checkpoint,
                               calibration_.fingerprint));
  return absl::OkStatus();
}

absl::Status CalibrationWriter::Add(const model::ModelInput& batch,
                                    kernels::ThreadPool* pool) {
  RETURN_IF_ERROR(LoadModel());
  RETURN_IF_ERROR(
      quantization::ObserveInputs(*model_, batch, pool, calibration_));
  return Added();
}

absl::Status CalibrationWriter::Add(std::string_view layer,
                                    kernels::MatrixView<const float> x) {
  RETURN_IF_ERROR(
      quantization::ObserveActivations(graph_, layer, x, calibration_));
  return Added();
}

absl::Status CalibrationWriter::Added() {
  ++unsaved_batches_;
  return unsaved_batches_ < kBatchesPerSave ? absl::OkStatus() : Save();
}

absl::Status CalibrationWriter::Save() {
  if (unsaved_batches_ == 0) return absl::OkStatus();
  RETURN_IF_ERROR(backend_.calibrations.Save(id_, calibration_));
  unsaved_batches_ = 0;
  return absl::OkStatus();
}

}  // namespace octet::rpc
