#include "server/rpc/calibration_transfer.h"

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "kernels/status_macros.h"
#include "server/bundle/mapped_file.h"
#include "server/model/str_cat.h"
#include "server/quantization/calibration/calibration.h"
#include "server/quantization/calibration/fingerprint.h"
#include "server/rpc/calibration_messages.h"
#include "server/rpc/calls/status.h"
#include "server/rpc/download.h"
#include "server/rpc/resources/checkpoint_graph.h"
#include "server/rpc/resources/resource_names.h"
#include "server/rpc/upload_file.h"

namespace octet::rpc {
namespace {

namespace fs = std::filesystem;

using quantization::Calibration;

class UploadStream final : public StreamHandler<v1::UploadCalibrationRequest> {
 public:
  UploadStream(Backend* backend, v1::Calibration* response)
      : backend_(*backend),
        response_(response),
        file_("calibration", std::min(backend->max_upload_bytes,
                                      quantization::kMaxCalibrationBytes)) {}

  absl::Status OnMessage(const v1::UploadCalibrationRequest& message) override {
    if (message.has_header()) return Begin(message.header());
    if (!message.has_chunk()) {
      return FieldViolation("message", "neither a header nor a chunk is set");
    }
    const v1::CalibrationChunk& chunk = message.chunk();
    return file_.Append(chunk.offset(), chunk.data(), chunk.crc32c());
  }

  absl::Status OnEnd() override {
    RETURN_IF_ERROR(file_.ExpectEnd());
    ASSIGN_OR_RETURN(Calibration calibration, Read());
    RETURN_IF_ERROR(backend_.calibrations.Create(id_, calibration));
    FillLayers(backend_.checkpoints, calibration, /*channels=*/false,
               response_);
    return FillSummary(backend_.calibrations, id_, calibration, response_);
  }

 private:
  absl::Status Begin(const v1::UploadCalibrationHeader& header) {
    RETURN_IF_ERROR(file_.ExpectHeader());
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
    return file_.Create(backend_.scratch / (id_ + ".calibration"));
  }

  // What is wrong in the file is the caller's mistake, not the disk's.
  absl::StatusOr<Calibration> Read() const {
    absl::StatusOr<Calibration> calibration =
        quantization::LoadCalibration(file_.path());
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
  Lease lease_;  // before the file that only its holder writes
  UploadFile file_;
};

}  // namespace

absl::Status SendCalibration(const fs::path& path,
                             Outbox<grpc::ByteBuffer>* outbox) {
  ASSIGN_OR_RETURN(bundle::MappedFile mapped, bundle::MappedFile::Open(path));
  const auto file =
      std::make_shared<const bundle::MappedFile>(std::move(mapped));
  const std::string_view bytes(
      reinterpret_cast<const char*>(file->bytes().data()),
      file->bytes().size());
  v1::DownloadCalibrationResponse fields;
  fields.set_total_bytes(static_cast<int64_t>(bytes.size()));
  Download<v1::DownloadCalibrationResponse> download(
      [outbox](const grpc::ByteBuffer& m) { return outbox->Send(m); }, fields);
  RETURN_IF_ERROR(download.Add(bytes, file));
  return download.Flush();
}

std::unique_ptr<StreamHandler<v1::UploadCalibrationRequest>> ReceiveCalibration(
    Backend* backend, v1::Calibration* response) {
  return std::make_unique<UploadStream>(backend, response);
}

}  // namespace octet::rpc
