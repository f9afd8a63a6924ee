// CalibrationService: batches in, statistics out.

#include <memory>
#include <string>
#include <utility>

#include "kernels/status_macros.h"
#include "octet/v1/calibration_service.grpc.pb.h"
#include "server/model/str_cat.h"
#include "server/quantization/calibration/calibration.h"
#include "server/rpc/calibration_batches.h"
#include "server/rpc/calibration_messages.h"
#include "server/rpc/calibration_transfer.h"
#include "server/rpc/calls/reactors.h"
#include "server/rpc/download.h"
#include "server/rpc/resources/backend.h"
#include "server/rpc/resources/captures.h"
#include "server/rpc/resources/checkpoint_graph.h"
#include "server/rpc/resources/resource_names.h"
#include "server/rpc/services.h"

namespace octet::rpc {
namespace {

using grpc::CallbackServerContext;
using grpc::ServerReadReactor;
using grpc::ServerUnaryReactor;
using grpc::ServerWriteReactor;
using quantization::Calibration;

absl::StatusOr<CaptureRequest> ParseCapture(
    const v1::StartCaptureRequest& request) {
  CaptureRequest capture;
  ASSIGN_OR_RETURN(capture.calibration, ParseName("calibration", kCalibrations,
                                                  request.calibration()));
  ASSIGN_OR_RETURN(capture.model, ParseName("model", kModels, request.model()));
  capture.rate = request.rate();
  if (request.max_samples() < 0) {
    return FieldViolation("max_samples", "must not be negative");
  }
  if (request.max_samples() > 0) {
    capture.max_samples = static_cast<size_t>(request.max_samples());
  }
  if (request.has_max_duration()) {
    capture.max_duration = absl::Seconds(request.max_duration().seconds()) +
                           absl::Nanoseconds(request.max_duration().nanos());
  }
  return capture;
}

// Downloads are written as slices.
using Rpc = v1::CalibrationService;
using CaptureCalls = Rpc::WithCallbackMethod_StartCapture<
    Rpc::WithCallbackMethod_StopCapture<Rpc::Service>>;
using RawService = Rpc::WithRawCallbackMethod_DownloadCalibration<
    Rpc::WithCallbackMethod_CreateCalibration<
        Rpc::WithCallbackMethod_UploadCalibrationBatches<
            Rpc::WithCallbackMethod_GetCalibration<
                Rpc::WithCallbackMethod_MergeCalibrations<
                    Rpc::WithCallbackMethod_UploadCalibration<
                        Rpc::WithCallbackMethod_ListCalibrations<
                            Rpc::WithCallbackMethod_DeleteCalibration<
                                CaptureCalls>>>>>>>>;

class CalibrationService final : public RawService {
 public:
  CalibrationService(const Edge& edge, const Edge& transfers, Backend* backend)
      : edge_(edge), transfers_(transfers), backend_(*backend) {}

  ServerUnaryReactor* CreateCalibration(
      CallbackServerContext* context,
      const v1::CreateCalibrationRequest* request,
      v1::Calibration* response) override {
    return Reply(edge_, "CalibrationService/CreateCalibration", context,
                 request, response,
                 [=, this](const Call&) { return Create(*request, response); });
  }

  ServerReadReactor<v1::UploadCalibrationBatchesRequest>*
  UploadCalibrationBatches(
      CallbackServerContext* context,
      v1::UploadCalibrationBatchesResponse* response) override {
    return Consume<v1::UploadCalibrationBatchesRequest>(
        edge_, "CalibrationService/UploadCalibrationBatches", context, response,
        ReceiveCalibrationBatches(&backend_, response));
  }

  ServerUnaryReactor* GetCalibration(CallbackServerContext* context,
                                     const v1::GetCalibrationRequest* request,
                                     v1::Calibration* response) override {
    return Reply(
        edge_, "CalibrationService/GetCalibration", context, request, response,
        [=, this](const Call&) -> absl::Status {
          ASSIGN_OR_RETURN(const std::string id,
                           ParseName("name", kCalibrations, request->name()));
          if (request->without_layers()) return Describe(id, response);
          // First: what a capture that is DONE took is in the file.
          FillCapture(*backend_.captures, id, response);
          ASSIGN_OR_RETURN(const Calibration calibration,
                           backend_.calibrations.Load(id));
          FillLayers(backend_.checkpoints, calibration, request->channels(),
                     response);
          return FillSummary(backend_.calibrations, id, calibration, response);
        });
  }

  ServerUnaryReactor* MergeCalibrations(
      CallbackServerContext* context,
      const v1::MergeCalibrationsRequest* request,
      v1::Calibration* response) override {
    return Reply(edge_, "CalibrationService/MergeCalibrations", context,
                 request, response,
                 [=, this](const Call&) { return Merge(*request, response); });
  }

  ServerWriteReactor<grpc::ByteBuffer>* DownloadCalibration(
      CallbackServerContext* context,
      const grpc::ByteBuffer* message) override {
    return ServeDownload<v1::DownloadCalibrationRequest>(
        transfers_, "CalibrationService/DownloadCalibration", context, message,
        [this](const v1::DownloadCalibrationRequest& request,
               Outbox<grpc::ByteBuffer>* outbox) {
          return Send(request, outbox);
        });
  }

  ServerReadReactor<v1::UploadCalibrationRequest>* UploadCalibration(
      CallbackServerContext* context, v1::Calibration* response) override {
    return Consume<v1::UploadCalibrationRequest>(
        edge_, "CalibrationService/UploadCalibration", context, response,
        ReceiveCalibration(&backend_, response));
  }

  ServerUnaryReactor* ListCalibrations(
      CallbackServerContext* context,
      const v1::ListCalibrationsRequest* request,
      v1::ListCalibrationsResponse* response) override {
    return Reply(edge_, "CalibrationService/ListCalibrations", context, request,
                 response, [=, this](const Call&) {
                   List(response);
                   return absl::OkStatus();
                 });
  }

  ServerUnaryReactor* DeleteCalibration(
      CallbackServerContext* context,
      const v1::DeleteCalibrationRequest* request,
      google::protobuf::Empty* response) override {
    return Reply(edge_, "CalibrationService/DeleteCalibration", context,
                 request, response, [=, this](const Call&) -> absl::Status {
                   ASSIGN_OR_RETURN(
                       const std::string id,
                       ParseName("name", kCalibrations, request->name()));
                   ASSIGN_OR_RETURN(const Lease lease,
                                    backend_.leases.Acquire(request->name()));
                   backend_.captures->Forget(id);
                   return backend_.calibrations.Remove(id);
                 });
  }

  ServerUnaryReactor* StartCapture(CallbackServerContext* context,
                                   const v1::StartCaptureRequest* request,
                                   v1::Calibration* response) override {
    return Reply(edge_, "CalibrationService/StartCapture", context, request,
                 response, [=, this](const Call&) -> absl::Status {
                   ASSIGN_OR_RETURN(const CaptureRequest capture,
                                    ParseCapture(*request));
                   RETURN_IF_ERROR(backend_.captures->Start(capture));
                   return Describe(capture.calibration, response);
                 });
  }

  ServerUnaryReactor* StopCapture(CallbackServerContext* context,
                                  const v1::StopCaptureRequest* request,
                                  v1::Calibration* response) override {
    return Reply(edge_, "CalibrationService/StopCapture", context, request,
                 response, [=, this](const Call&) -> absl::Status {
                   ASSIGN_OR_RETURN(const std::string id,
                                    ParseName("calibration", kCalibrations,
                                              request->calibration()));
                   RETURN_IF_ERROR(backend_.calibrations.File(id).status());
                   RETURN_IF_ERROR(backend_.captures->Stop(id));
                   return Describe(id, response);
                 });
  }

 private:
  absl::Status Create(const v1::CreateCalibrationRequest& request,
                      v1::Calibration* response) {
    const std::string& id = request.calibration_id();
    RETURN_IF_ERROR(bundle::ValidateId("calibration_id", id));
    ASSIGN_OR_RETURN(
        const std::string checkpoint,
        ParseName("checkpoint", kCheckpoints, request.checkpoint()));
    ASSIGN_OR_RETURN(const CheckpointGraph source,
                     ImportGraph(backend_.checkpoints, checkpoint));
    ASSIGN_OR_RETURN(const Lease lease,
                     backend_.leases.Acquire(ResourceName(kCalibrations, id)));
    ASSIGN_OR_RETURN(const auto options, ParseOptions(request.options()));
    Calibration empty = quantization::NewCalibration(checkpoint, options);
    empty.fingerprint = source.fingerprint;
    RETURN_IF_ERROR(backend_.calibrations.Create(id, empty));
    return FillSummary(backend_.calibrations, id, empty, response);
  }

  absl::StatusOr<quantization::CalibrationOptions> ParseOptions(
      const v1::CalibrationOptions& wanted) const {
    if (wanted.kept_rows() < 0 || wanted.kept_samples() < 0) {
      return FieldViolation("options", "must not be negative");
    }
    quantization::CalibrationOptions options = backend_.calibration_options;
    options.seed = wanted.seed();
    if (wanted.kept_rows() > 0) {
      options.rows = static_cast<size_t>(wanted.kept_rows());
    }
    if (wanted.kept_samples() > 0) {
      options.samples = static_cast<size_t>(wanted.kept_samples());
    }
    const absl::Status status = quantization::CheckOptions(options);
    if (!status.ok()) return InsideField("options", status);
    return options;
  }

  absl::Status Merge(const v1::MergeCalibrationsRequest& request,
                     v1::Calibration* response) {
    ASSIGN_OR_RETURN(const std::string into_id,
                     ParseName("into", kCalibrations, request.into()));
    if (request.from().empty()) {
      return FieldViolation("from", "names no calibration");
    }
    ASSIGN_OR_RETURN(const Lease lease,
                     backend_.leases.Acquire(request.into()));
    ASSIGN_OR_RETURN(Calibration into, backend_.calibrations.Load(into_id));
    for (int i = 0; i < request.from_size(); ++i) {
      const std::string field = model::StrCat("from[", i, "]");
      ASSIGN_OR_RETURN(const std::string id,
                       ParseName(field, kCalibrations, request.from(i)));
      if (id == into_id) return FieldViolation(field, "is `into` itself");
      ASSIGN_OR_RETURN(const Calibration from, backend_.calibrations.Load(id));
      const absl::Status merged = quantization::Merge(from, into);
      if (!merged.ok()) return InsideField(field, merged);
    }
    RETURN_IF_ERROR(backend_.calibrations.Save(into_id, into));
    FillLayers(backend_.checkpoints, into, /*channels=*/false, response);
    return FillSummary(backend_.calibrations, into_id, into, response);
  }

  absl::Status Send(const v1::DownloadCalibrationRequest& request,
                    Outbox<grpc::ByteBuffer>* outbox) const {
    ASSIGN_OR_RETURN(const std::string id,
                     ParseName("name", kCalibrations, request.name()));
    ASSIGN_OR_RETURN(const auto file, backend_.calibrations.File(id));
    return SendCalibration(file, outbox);
  }

  // Without layers.
  absl::Status Describe(const std::string& id, v1::Calibration* out) const {
    FillCapture(*backend_.captures, id, out);
    ASSIGN_OR_RETURN(
        const Calibration calibration,
        backend_.calibrations.Load(id, quantization::Load::kStatistics));
    return FillSummary(backend_.calibrations, id, calibration, out);
  }

  // One that was deleted meanwhile is left out.
  void List(v1::ListCalibrationsResponse* response) const {
    for (const std::string& id : backend_.calibrations.List()) {
      v1::Calibration item;
      if (Describe(id, &item).ok()) {
        *response->add_calibrations() = std::move(item);
      }
    }
  }

  const Edge edge_;
  const Edge transfers_;
  Backend& backend_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeCalibrationService(const Edge& files,
                                                      const Edge& transfers,
                                                      Backend* backend) {
  return std::make_unique<CalibrationService>(files, transfers, backend);
}

}  // namespace octet::rpc
