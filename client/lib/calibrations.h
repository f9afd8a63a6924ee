// Calibrations on the server, and streaming batches into them.

#ifndef OCTET_CLIENT_LIB_CALIBRATIONS_H_
#define OCTET_CLIENT_LIB_CALIBRATIONS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/lib/connection.h"

namespace octet::client {

// The next batch (its `calibration` is filled in here), nothing at the end, or
// an error, which abandons the stream.
using BatchSource = std::function<
    absl::StatusOr<std::optional<v1::UploadCalibrationBatchesRequest>>()>;

// Zeros in `options` are the server's defaults.
absl::StatusOr<v1::Calibration> CreateCalibration(
    Connection& connection, absl::string_view id, absl::string_view checkpoint,
    const v1::CalibrationOptions& options);

// Streams all batches of `next`. A stream that breaks is not tried again: which
// batches count is asked with GetCalibration, and a batch must not count twice.
absl::StatusOr<v1::UploadCalibrationBatchesResponse> UploadCalibrationBatches(
    Connection& connection, absl::string_view id, const BatchSource& next,
    const ProgressFn& progress);

absl::StatusOr<v1::Calibration> GetCalibration(Connection& connection,
                                               absl::string_view id);
// Without layers, which is fast whatever it keeps.
absl::StatusOr<v1::Calibration> GetCalibrationSummary(Connection& connection,
                                                      absl::string_view id);
absl::StatusOr<v1::Calibration> MergeCalibrations(
    Connection& connection, absl::string_view into,
    const std::vector<std::string>& from);
absl::StatusOr<v1::ListCalibrationsResponse> ListCalibrations(
    Connection& connection);
absl::Status DeleteCalibration(Connection& connection, absl::string_view id);

// Bounds of a capture. Zeros are the server's defaults.
struct CaptureOptions {
  double rate = 1;  // share of computations, in (0, 1]
  int64_t max_samples = 0;
  absl::Duration max_duration;
};

// Adds a share of what `model` is asked to a calibration that exists, until a
// bound is reached or StopCapture. GetCalibration says how far it is.
absl::StatusOr<v1::Calibration> StartCapture(Connection& connection,
                                             absl::string_view calibration,
                                             absl::string_view model,
                                             const CaptureOptions& options);
absl::StatusOr<v1::Calibration> StopCapture(Connection& connection,
                                            absl::string_view calibration);

}  // namespace octet::client

#endif  // OCTET_CLIENT_LIB_CALIBRATIONS_H_
