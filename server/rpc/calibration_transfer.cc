#include "server/rpc/calibration_transfer.h"

#include <fcntl.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "kernels/status_macros.h"
#include "server/bundle/io.h"
#include "server/bundle/mapped_file.h"
#include "server/bundle/upload.h"
#include "server/model/str_cat.h"
#include "server/quantization/calibration/calibration.h"
#include "server/quantization/calibration/fingerprint.h"
#include "server/rpc/calibration_messages.h"
#include "server/rpc/messages.h"
#include "server/rpc/resources/checkpoint_graph.h"
#include "server/rpc/resources/resource_names.h"

namespace octet::rpc {
namespace {

namespace fs = std::filesystem;

using quantization::Calibration;

// Big enough to make calls rare, small enough to be buffered per client.
constexpr size_t kDownloadChunk = size_t{1} << 20;

// A file that arrives in scratch space, which goes when the stream does.
class UploadStream final : public StreamHandler<v1::UploadCalibrationRequest> {
 public:
  UploadStream(Backend* backend, v1::Calibration* response)
      : backend_(*backend), response_(response) {}

  ~UploadStream() override {
    std::error_code ignored;
    if (!scratch_.empty()) fs::remove(scratch_, ignored);
  }

  absl::Status OnMessage(const v1::UploadCalibrationRequest& message) override {
    if (message.has_header()) return Begin(message.header());
    if (!message.has_chunk()) {
      return FieldViolation("message", "neither a header nor a chunk is set");
    }
    return Append(message.chunk());
  }

  absl::Status OnEnd() override {
    if (scratch_.empty()) {
      return FieldViolation("header", "the stream ended before it");
    }
    ASSIGN_OR_RETURN(Calibration calibration, Read());
    RETURN_IF_ERROR(backend_.calibrations.Create(id_, calibration));
    FillLayers(backend_.checkpoints, calibration, /*channels=*/false,
               response_);
    return FillSummary(backend_.calibrations, id_, calibration, response_);
  }

 private:
  absl::Status Begin(const v1::UploadCalibrationHeader& header) {
    if (!scratch_.empty()) {
      return FieldViolation("header", "comes once, at the start");
    }
    id_ = header.calibration_id();
    RETURN_IF_ERROR(bundle::ValidateId("header.calibration_id", id_));
    ASSIGN_OR_RETURN(checkpoint_, ParseName("header.checkpoint", kCheckpoints,
                                            header.checkpoint()));
    RETURN_IF_ERROR(backend_.checkpoints.Find(checkpoint_).status());
    ASSIGN_OR_RETURN(lease_,
                     backend_.leases.Acquire(ResourceName(kCalibrations, id_)));
    if (backend_.calibrations.CreateTime(id_).ok()) {
      return absl::AlreadyExistsError(
          model::StrCat("calibration '", id_, "' already exists"));
    }
    scratch_ = backend_.scratch / (id_ + ".calibration");
    ASSIGN_OR_RETURN(
        file_,
        bundle::OpenFile(scratch_, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW));
    return absl::OkStatus();
  }

  absl::Status Append(const v1::CalibrationChunk& chunk) {
    if (scratch_.empty()) {
      return FieldViolation("header", "must come before chunks");
    }
    RETURN_IF_ERROR(CheckChunk(chunk.offset(), chunk.data().size()));
    if (static_cast<uint64_t>(chunk.offset()) != received_) {
      return absl::OutOfRangeError(
          model::StrCat("chunk.offset: is ", chunk.offset(),
                        "; the calibration continues at ", received_));
    }
    if (bundle::Crc32c(chunk.data()) != chunk.crc32c()) {
      return absl::DataLossError(
          model::StrCat("the chunk at offset ", chunk.offset(),
                        " does not have the CRC32C that crc32c says"));
    }
    // Unlike bundles it is read into memory.
    const uint64_t limit =
        std::min(backend_.max_upload_bytes, quantization::kMaxCalibrationBytes);
    if (chunk.data().size() > limit - received_) {
      return absl::ResourceExhaustedError(model::StrCat(
          "the calibration is over the limit of ", limit, " bytes"));
    }
    RETURN_IF_ERROR(bundle::WriteAll(file_.get(), chunk.data(), scratch_));
    received_ += chunk.data().size();
    return absl::OkStatus();
  }

  // What is wrong in the file is the caller's mistake, not the disk's.
  absl::StatusOr<Calibration> Read() const {
    absl::StatusOr<Calibration> calibration =
        quantization::LoadCalibration(scratch_);
    if (!calibration.ok()) {
      return absl::InvalidArgumentError(calibration.status().message());
    }
    ASSIGN_OR_RETURN(const CheckpointGraph checkpoint,
                     ImportGraph(backend_.checkpoints, checkpoint_));
    RETURN_IF_ERROR(quantization::CheckFingerprint(calibration->fingerprint,
                                                   checkpoint.fingerprint));
    RETURN_IF_ERROR(quantization::CheckFits(*calibration, checkpoint.graph));
    calibration->checkpoint = checkpoint_;  // as it is called here
    return calibration;
  }

  Backend& backend_;
  v1::Calibration* const response_;
  std::string id_;
  std::string checkpoint_;
  Lease lease_;
  fs::path scratch_;  // empty before the header
  bundle::FileDescriptor file_;
  uint64_t received_ = 0;
};

}  // namespace

absl::Status SendCalibration(const fs::path& file,
                             Outbox<v1::DownloadCalibrationResponse>* outbox) {
  ASSIGN_OR_RETURN(const bundle::MappedFile mapped,
                   bundle::MappedFile::Open(file));
  const std::string_view bytes(
      reinterpret_cast<const char*>(mapped.bytes().data()),
      mapped.bytes().size());
  for (size_t offset = 0; offset < bytes.size(); offset += kDownloadChunk) {
    const std::string_view chunk = bytes.substr(offset, kDownloadChunk);
    v1::DownloadCalibrationResponse response;
    response.set_offset(static_cast<int64_t>(offset));
    response.set_total_bytes(static_cast<int64_t>(bytes.size()));
    response.set_crc32c(bundle::Crc32c(chunk));
    response.set_data(std::string(chunk));
    if (!outbox->Send(std::move(response))) {
      return absl::CancelledError("the client is gone");
    }
  }
  return absl::OkStatus();
}

std::unique_ptr<StreamHandler<v1::UploadCalibrationRequest>> ReceiveCalibration(
    Backend* backend, v1::Calibration* response) {
  return std::make_unique<UploadStream>(backend, response);
}

}  // namespace octet::rpc
