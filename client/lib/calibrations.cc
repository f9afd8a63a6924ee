#include "client/lib/calibrations.h"

#include <utility>

namespace octet::client {

using Stub = v1::CalibrationService::Stub;

absl::StatusOr<v1::Calibration> CreateCalibration(
    Connection& connection, absl::string_view id, absl::string_view checkpoint,
    const v1::CalibrationOptions& options) {
  v1::CreateCalibrationRequest request;
  request.set_calibration_id(std::string(id));
  request.set_checkpoint(ResourceName("checkpoints", checkpoint));
  *request.mutable_options() = options;
  return Unary(connection, connection.calibrations(), &Stub::CreateCalibration,
               request);
}

absl::StatusOr<v1::UploadCalibrationBatchesResponse> UploadCalibrationBatches(
    Connection& connection, absl::string_view id, const BatchSource& next,
    const ProgressFn& progress) {
  Call call(connection);
  v1::UploadCalibrationBatchesResponse response;
  const auto stream = connection.calibrations().UploadCalibrationBatches(
      &call.context(), &response);
  for (int64_t sent = 0;; ++sent) {
    auto batch = next();
    if (!batch.ok()) {
      // Not cancelled: what was sent counts, whatever the server had read of
      // it.
      stream->WritesDone();
      stream->Finish();
      return batch.status();
    }
    if (!batch->has_value()) break;
    (*batch)->set_calibration(ResourceName("calibrations", id));
    if (!stream->Write(**batch)) break;  // Finish tells why
    if (progress) progress(sent + 1, 0);
  }
  stream->WritesDone();
  const absl::Status status = FromGrpc(stream->Finish());
  if (!status.ok()) return status;
  return response;
}

absl::StatusOr<v1::Calibration> GetCalibration(Connection& connection,
                                               absl::string_view id) {
  v1::GetCalibrationRequest request;
  request.set_name(ResourceName("calibrations", id));
  return Unary(connection, connection.calibrations(), &Stub::GetCalibration,
               request);
}

absl::StatusOr<v1::Calibration> GetCalibrationSummary(Connection& connection,
                                                      absl::string_view id) {
  v1::GetCalibrationRequest request;
  request.set_name(ResourceName("calibrations", id));
  request.set_without_layers(true);
  return Unary(connection, connection.calibrations(), &Stub::GetCalibration,
               request);
}

absl::StatusOr<v1::Calibration> MergeCalibrations(
    Connection& connection, absl::string_view into,
    const std::vector<std::string>& from) {
  v1::MergeCalibrationsRequest request;
  request.set_into(ResourceName("calibrations", into));
  for (const std::string& other : from) {
    request.add_from(ResourceName("calibrations", other));
  }
  return Unary(connection, connection.calibrations(), &Stub::MergeCalibrations,
               request);
}

absl::StatusOr<v1::ListCalibrationsResponse> ListCalibrations(
    Connection& connection) {
  return Unary(connection, connection.calibrations(), &Stub::ListCalibrations,
               v1::ListCalibrationsRequest());
}

absl::Status DeleteCalibration(Connection& connection, absl::string_view id) {
  v1::DeleteCalibrationRequest request;
  request.set_name(ResourceName("calibrations", id));
  return Unary(connection, connection.calibrations(), &Stub::DeleteCalibration,
               request)
      .status();
}

absl::StatusOr<v1::Calibration> StartCapture(Connection& connection,
                                             absl::string_view calibration,
                                             absl::string_view model,
                                             const CaptureOptions& options) {
  v1::StartCaptureRequest request;
  request.set_calibration(ResourceName("calibrations", calibration));
  request.set_model(ResourceName("models", model));
  request.set_rate(options.rate);
  request.set_max_samples(options.max_samples);
  if (options.max_duration != absl::ZeroDuration()) {
    absl::Duration rest = options.max_duration;
    google::protobuf::Duration* duration = request.mutable_max_duration();
    duration->set_seconds(absl::IDivDuration(rest, absl::Seconds(1), &rest));
    duration->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
  }
  return Unary(connection, connection.calibrations(), &Stub::StartCapture,
               request);
}

absl::StatusOr<v1::Calibration> StopCapture(Connection& connection,
                                            absl::string_view calibration) {
  v1::StopCaptureRequest request;
  request.set_calibration(ResourceName("calibrations", calibration));
  return Unary(connection, connection.calibrations(), &Stub::StopCapture,
               request);
}

}  // namespace octet::client
