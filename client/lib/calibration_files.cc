#include "client/lib/calibration_files.h"

#include <fstream>
#include <string>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "client/lib/checkpoint_files.h"
#include "client/lib/digest.h"
#include "client/lib/status_macros.h"

namespace octet::client {

namespace fs = std::filesystem;

namespace {

absl::Status CheckChunk(const v1::DownloadCalibrationResponse& chunk,
                        int64_t expected_offset) {
  if (chunk.offset() == expected_offset &&
      Crc32c(chunk.data()) == chunk.crc32c()) {
    return absl::OkStatus();
  }
  return absl::DataLossError(
      absl::StrCat("the chunk at byte ", expected_offset,
                   " came damaged or not at all; download again"));
}

absl::Status CannotWrite(const fs::path& path) {
  return absl::UnknownError(absl::StrCat("cannot write ", path.string()));
}

// Reads the stream into `file`; OK when it ended, for whatever reason.
template <typename Stream>
absl::Status Receive(Stream& stream, const fs::path& path, std::ofstream& file,
                     const ProgressFn& progress) {
  v1::DownloadCalibrationResponse chunk;
  int64_t received = 0;
  int64_t total = 0;
  while (stream.Read(&chunk)) {
    RETURN_IF_ERROR(CheckChunk(chunk, received));
    received += static_cast<int64_t>(chunk.data().size());
    total = chunk.total_bytes();
    file << chunk.data();
    if (!file) return CannotWrite(path);
    if (progress) progress(received, total);
  }
  return absl::OkStatus();
}

absl::Status DownloadTo(Connection& connection, absl::string_view id,
                        const fs::path& path, const ProgressFn& progress) {
  v1::DownloadCalibrationRequest request;
  request.set_name(ResourceName("calibrations", id));
  std::ofstream file(path, std::ios::binary);
  Call call(connection);
  const auto stream =
      connection.calibrations().DownloadCalibration(&call.context(), request);
  const absl::Status received = Receive(*stream, path, file, progress);
  if (!received.ok()) call.context().TryCancel();
  const absl::Status finished = FromGrpc(stream->Finish());
  RETURN_IF_ERROR(received);
  RETURN_IF_ERROR(finished);
  file.close();
  return file ? absl::OkStatus() : CannotWrite(path);
}

}  // namespace

absl::Status DownloadCalibration(Connection& connection, absl::string_view id,
                                 const fs::path& target,
                                 const ProgressFn& progress) {
  std::error_code error;
  if (fs::exists(target, error)) {
    return absl::AlreadyExistsError(
        absl::StrCat(target.string(), " exists already"));
  }
  fs::path part = target;
  part += ".part";
  const absl::Cleanup remove = [&] { fs::remove(part, error); };
  RETURN_IF_ERROR(DownloadTo(connection, id, part, progress));
  fs::rename(part, target, error);
  return error ? CannotWrite(target) : absl::OkStatus();
}

absl::StatusOr<v1::Calibration> UploadCalibration(Connection& connection,
                                                  const fs::path& source,
                                                  absl::string_view id,
                                                  absl::string_view checkpoint,
                                                  const ProgressFn& progress) {
  std::error_code error;
  const auto size = static_cast<int64_t>(fs::file_size(source, error));
  if (error) {
    return absl::NotFoundError(
        absl::StrCat("cannot read ", source.string(), ": ", error.message()));
  }
  Call call(connection);
  v1::Calibration calibration;
  const auto stream = connection.calibrations().UploadCalibration(
      &call.context(), &calibration);
  v1::UploadCalibrationRequest request;
  request.mutable_header()->set_calibration_id(std::string(id));
  request.mutable_header()->set_checkpoint(
      ResourceName("checkpoints", checkpoint));
  bool open = stream->Write(request);
  absl::Status read;
  if (open) {
    read = ReadChunks(source, 0, size, [&](Chunk chunk) {
      v1::CalibrationChunk& message = *request.mutable_chunk();
      message.set_offset(chunk.offset);
      message.set_crc32c(chunk.crc32c);
      message.set_data(std::move(chunk.data));
      open = stream->Write(request);  // Finish tells why not
      if (open && progress) {
        const auto bytes = static_cast<int64_t>(message.data().size());
        progress(chunk.offset + bytes, size);
      }
      return open;
    });
  }
  if (!read.ok()) call.context().TryCancel();
  if (open) stream->WritesDone();
  const absl::Status finished = FromGrpc(stream->Finish());
  RETURN_IF_ERROR(read);
  RETURN_IF_ERROR(finished);
  return calibration;
}

}  // namespace octet::client
