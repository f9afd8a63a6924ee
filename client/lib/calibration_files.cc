#include "client/lib/calibration_files.h"

#include <string>
#include <utility>

#include "client/lib/file_streams.h"
#include "client/lib/scratch_directory.h"
#include "client/lib/status_macros.h"

namespace octet::client {

namespace fs = std::filesystem;

namespace {

absl::Status DownloadTo(Connection& connection, absl::string_view id,
                        const fs::path& path, const ProgressFn& progress) {
  v1::DownloadCalibrationRequest request;
  request.set_name(ResourceName("calibrations", id));
  Call call(connection);
  const auto stream =
      connection.calibrations().DownloadCalibration(&call.context(), request);
  return ReceiveFile<v1::DownloadCalibrationResponse>(
      call, *stream, path, [&](const auto& chunk, int64_t received) {
        if (progress) progress(received, chunk.total_bytes());
      });
}

}  // namespace

absl::Status DownloadCalibration(Connection& connection, absl::string_view id,
                                 const fs::path& target,
                                 const ProgressFn& progress) {
  ASSIGN_OR_RETURN(const ScratchDirectory aside,
                   ScratchDirectory::Beside(target));
  const fs::path whole = aside.path() / "calibration";
  RETURN_IF_ERROR(DownloadTo(connection, id, whole, progress));
  return MoveTo(whole, target);
}

absl::StatusOr<v1::Calibration> UploadCalibration(Connection& connection,
                                                  const fs::path& source,
                                                  absl::string_view id,
                                                  absl::string_view checkpoint,
                                                  const ProgressFn& progress) {
  ASSIGN_OR_RETURN(const int64_t size, SizeOf(source));
  Call call(connection);
  v1::Calibration calibration;
  const auto stream = connection.calibrations().UploadCalibration(
      &call.context(), &calibration);
  v1::UploadCalibrationRequest request;
  request.mutable_header()->set_calibration_id(std::string(id));
  request.mutable_header()->set_checkpoint(
      ResourceName("checkpoints", checkpoint));
  RETURN_IF_ERROR(
      SendFile(call, *stream, std::move(request), source, size, progress));
  return calibration;
}

}  // namespace octet::client
