// Calibrations as files: to be kept, or given to another server.

#ifndef OCTET_CLIENT_LIB_CALIBRATION_FILES_H_
#define OCTET_CLIENT_LIB_CALIBRATION_FILES_H_

#include <filesystem>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/lib/connection.h"

namespace octet::client {

// Written aside, in a new directory beside it, and renamed: `target` is whole
// or does not exist. ALREADY_EXISTS when it exists; DATA_LOSS when a chunk is
// damaged or missing.
absl::Status DownloadCalibration(Connection& connection, absl::string_view id,
                                 const std::filesystem::path& target,
                                 const ProgressFn& progress);

// Stores the file as calibration `id` of a checkpoint of that server, which has
// the weights the calibration was made with.
absl::StatusOr<v1::Calibration> UploadCalibration(
    Connection& connection, const std::filesystem::path& source,
    absl::string_view id, absl::string_view checkpoint,
    const ProgressFn& progress);

}  // namespace octet::client

#endif  // OCTET_CLIENT_LIB_CALIBRATION_FILES_H_
