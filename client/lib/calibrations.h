// Calibrations on the server, and streaming batches into them.

#ifndef OCTET_CLIENT_LIB_CALIBRATIONS_H_
#define OCTET_CLIENT_LIB_CALIBRATIONS_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
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
absl::StatusOr<v1::Calibration> MergeCalibrations(
    Connection& connection, absl::string_view into,
    const std::vector<std::string>& from);
absl::StatusOr<v1::ListCalibrationsResponse> ListCalibrations(
    Connection& connection);
absl::Status DeleteCalibration(Connection& connection, absl::string_view id);

}  // namespace octet::client

#endif  // OCTET_CLIENT_LIB_CALIBRATIONS_H_
