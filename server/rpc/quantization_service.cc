// QuantizationService: checked plans become operations.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "kernels/status_macros.h"
#include "octet/v1/quantization_service.grpc.pb.h"
#include "server/bundle/bundle.h"
#include "server/bundle/shard_writer.h"
#include "server/model/importer.h"
#include "server/model/str_cat.h"
#include "server/quantization/calibration/calibration.h"
#include "server/quantization/calibration/fingerprint.h"
#include "server/quantization/calibration/hold_out.h"
#include "server/quantization/job/operations.h"
#include "server/quantization/job/publish.h"
#include "server/quantization/job/quantizer.h"
#include "server/quantization/planning/planner.h"
#include "server/rpc/calls/reactors.h"
#include "server/rpc/messages.h"
#include "server/rpc/quantization_spec.h"
#include "server/rpc/resources/backend.h"
#include "server/rpc/resources/resource_names.h"
#include "server/rpc/services.h"
#include "server/telemetry/build_info.h"

namespace octet::rpc {
namespace {

using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;
using grpc::ServerWriteReactor;
using quantization::OperationState;
using quantization::PlanRequest;

// A quantization takes seconds: a waiting place is free again about then.
constexpr absl::Duration kRetryDelay = absl::Seconds(5);

v1::Operation::State ToProto(OperationState state) {
  switch (state) {
    case OperationState::kQueued:
      return v1::Operation::STATE_QUEUED;
    case OperationState::kRunning:
      return v1::Operation::STATE_RUNNING;
    case OperationState::kSucceeded:
      return v1::Operation::STATE_SUCCEEDED;
    case OperationState::kFailed:
      return v1::Operation::STATE_FAILED;
    case OperationState::kCancelled:
      return v1::Operation::STATE_CANCELLED;
  }
  return v1::Operation::STATE_UNSPECIFIED;
}

v1::Operation ToProto(const quantization::Operation& operation) {
  v1::Operation out;
  out.set_name(ResourceName(kOperations, operation.id));
  out.set_state(ToProto(operation.state));
  out.mutable_progress()->set_stage(operation.progress.stage);
  out.mutable_progress()->set_layer(operation.progress.layer);
  out.mutable_progress()->set_done_steps(operation.progress.done);
  out.mutable_progress()->set_total_steps(operation.progress.total);
  out.set_checkpoint(ResourceName(kCheckpoints, operation.checkpoint));
  *out.mutable_create_time() = ToTimestamp(operation.create_time);
  if (operation.done()) {
    *out.mutable_end_time() = ToTimestamp(operation.end_time);
  }
  if (operation.state == OperationState::kSucceeded) {
    out.set_bundle(ResourceName(kBundles, operation.bundle));
  }
  if (operation.state == OperationState::kFailed) {
    out.mutable_error()->set_code(static_cast<int>(operation.error.code()));
    out.mutable_error()->set_message(std::string(operation.error.message()));
  }
  return out;
}

// Everything an operation needs, looked up and checked.
struct Job {
  std::string bundle;  // id
  std::filesystem::path checkpoint;
  // As it is now, whatever becomes of it before the job's turn; or nullptr.
  std::shared_ptr<const quantization::CalibrationFile> calibration;
  PlanRequest plan;
  bundle::Provenance provenance;
  uint64_t max_shard_bytes = bundle::kDefaultShardBytes;
};

// `statistics` are the calibration's; or nullptr.
absl::Status CheckPlan(const Job& job, const std::string& checkpoint,
                       const bundle::DirectoryStore& checkpoints,
                       const quantization::Calibration* statistics) {
  const auto files = bundle::OpenCheckpoint(job.checkpoint);
  if (!files.ok()) return checkpoints.WhyUnreadable(checkpoint, files.status());
  RETURN_IF_ERROR(quantization::CheckIsFloat(*files));
  if (statistics != nullptr) {
    ASSIGN_OR_RETURN(const std::string fingerprint,
                     quantization::Fingerprint(*files->tensors));
    RETURN_IF_ERROR(
        quantization::CheckFingerprint(statistics->fingerprint, fingerprint));
  }
  const auto graph = model::Import(files->configs, *files->tensors);
  if (!graph.ok()) return checkpoints.WhyUnreadable(checkpoint, graph.status());
  const quantization::StatisticsByLayer none;
  return quantization::PlanFromStatistics(
             *graph, job.plan,
             statistics != nullptr ? statistics->ByLayer() : none)
      .status();
}

absl::Status RunJob(
    const Job& job, Backend* backend,
    const std::function<void(const quantization::Progress&)>& on_progress,
    const std::function<bool()>& cancelled) {
  std::optional<quantization::Calibration> calibration;
  if (job.calibration != nullptr) {
    ASSIGN_OR_RETURN(calibration,
                     job.calibration->Read(quantization::Load::kAll));
    quantization::HoldOut(*calibration);
  }
  return quantization::QuantizeInto(
      backend->bundles, job.bundle,
      {.checkpoint = job.checkpoint,
       .output = {},
       .calibration = calibration ? &*calibration : nullptr,
       .request = job.plan,
       .provenance = job.provenance,
       .max_shard_bytes = job.max_shard_bytes,
       .max_measure_bytes = backend->max_measure_bytes,
       .pool = backend->pool,
       .on_progress = on_progress,
       .cancelled = cancelled});
}

class QuantizationService final
    : public v1::QuantizationService::CallbackService {
 public:
  QuantizationService(const Edge& edge, Backend* backend)
      : edge_(edge), backend_(*backend) {}

  ServerUnaryReactor* Quantize(CallbackServerContext* context,
                               const v1::QuantizeRequest* request,
                               v1::Operation* response) override {
    return Reply(
        edge_, "QuantizationService/Quantize", context, request, response,
        [=, this](const Call&) -> absl::Status {
          ASSIGN_OR_RETURN(
              const std::string checkpoint,
              ParseName("checkpoint", kCheckpoints, request->checkpoint()));
          absl::ReaderMutexLock lock(&backend_.dependencies);
          std::optional<quantization::Calibration> statistics;
          ASSIGN_OR_RETURN(Job job, MakeJob(checkpoint, *request, statistics));
          RETURN_IF_ERROR(CheckPlan(job, checkpoint, backend_.checkpoints,
                                    statistics ? &*statistics : nullptr));
          return Start(checkpoint, std::move(job), response);
        });
  }

  // Reads memory only, and so needs no worker.
  ServerWriteReactor<v1::Operation>* WatchOperation(
      CallbackServerContext* context,
      const v1::WatchOperationRequest* request) override {
    auto* outbox = new Outbox<v1::Operation>(
        edge_, "QuantizationService/WatchOperation", context);
    outbox->scope().Received(*request);
    const auto id = ParseName("name", kOperations, request->name());
    if (!outbox->scope().admission().ok()) {
      outbox->Close(outbox->scope().admission());
    } else if (!id.ok()) {
      outbox->Close(id.status());
    } else {
      Watch(*id, outbox);
    }
    return outbox;
  }

  ServerUnaryReactor* GetOperation(CallbackServerContext* context,
                                   const v1::GetOperationRequest* request,
                                   v1::Operation* response) override {
    return Reply(
        edge_, "QuantizationService/GetOperation", context, request, response,
        [=, this](const Call&) -> absl::Status {
          ASSIGN_OR_RETURN(const std::string id,
                           ParseName("name", kOperations, request->name()));
          ASSIGN_OR_RETURN(const auto operation, backend_.operations->Get(id));
          *response = ToProto(operation);
          return absl::OkStatus();
        });
  }

  ServerUnaryReactor* CancelOperation(CallbackServerContext* context,
                                      const v1::CancelOperationRequest* request,
                                      v1::Operation* response) override {
    return Reply(edge_, "QuantizationService/CancelOperation", context, request,
                 response, [=, this](const Call&) -> absl::Status {
                   ASSIGN_OR_RETURN(
                       const std::string id,
                       ParseName("name", kOperations, request->name()));
                   ASSIGN_OR_RETURN(const auto operation,
                                    backend_.operations->Cancel(id));
                   *response = ToProto(operation);
                   return absl::OkStatus();
                 });
  }

  ServerUnaryReactor* ListOperations(
      CallbackServerContext* context, const v1::ListOperationsRequest* request,
      v1::ListOperationsResponse* response) override {
    return Reply(edge_, "QuantizationService/ListOperations", context, request,
                 response, [=, this](const Call&) {
                   for (const auto& operation : backend_.operations->List()) {
                     *response->add_operations() = ToProto(operation);
                   }
                   return absl::OkStatus();
                 });
  }

 private:
  // Without the rows that the calibration kept: a job that waits for its turn
  // holds none of them.
  absl::StatusOr<Job> MakeJob(
      const std::string& checkpoint, const v1::QuantizeRequest& request,
      std::optional<quantization::Calibration>& statistics) const {
    Job job;
    job.bundle = request.bundle_id();
    RETURN_IF_ERROR(bundle::ValidateId("bundle_id", job.bundle));
    ASSIGN_OR_RETURN(job.plan, ParseSpec(request.spec()));
    if (request.max_shard_bytes() < 0) {
      return FieldViolation("max_shard_bytes", "must not be negative");
    }
    if (request.max_shard_bytes() > 0) {
      job.max_shard_bytes = static_cast<uint64_t>(request.max_shard_bytes());
    }
    ASSIGN_OR_RETURN(job.checkpoint, backend_.checkpoints.Find(checkpoint));
    if (!request.calibration().empty()) {
      ASSIGN_OR_RETURN(job.calibration, OpenCalibration(request.calibration()));
      ASSIGN_OR_RETURN(statistics,
                       job.calibration->Read(quantization::Load::kStatistics));
      RETURN_IF_ERROR(
          CheckIsOf(checkpoint, request.calibration(), *statistics));
    }
    if (backend_.bundles.Find(job.bundle).ok()) {
      return absl::AlreadyExistsError(
          model::StrCat("bundle '", job.bundle, "' already exists"));
    }
    const std::string_view version = telemetry::GetBuildInfo().version;
    job.provenance = {.checkpoint = request.checkpoint(),
                      .calibration = request.calibration(),
                      .octet_version = std::string(version),
                      .create_time = absl::FormatTime(
                          absl::RFC3339_sec, absl::Now(), absl::UTCTimeZone())};
    return job;
  }

  absl::StatusOr<std::shared_ptr<const quantization::CalibrationFile>>
  OpenCalibration(const std::string& name) const {
    ASSIGN_OR_RETURN(const std::string id,
                     ParseName("calibration", kCalibrations, name));
    ASSIGN_OR_RETURN(const auto path, backend_.calibrations.File(id));
    ASSIGN_OR_RETURN(auto file, quantization::CalibrationFile::Open(path));
    return std::make_shared<const quantization::CalibrationFile>(
        std::move(file));
  }

  static absl::Status CheckIsOf(const std::string& checkpoint,
                                const std::string& name,
                                const quantization::Calibration& calibration) {
    if (calibration.checkpoint == checkpoint) return absl::OkStatus();
    return FieldViolation(
        "calibration",
        model::StrCat("'", name, "' is of checkpoint '", calibration.checkpoint,
                      "', not of '", checkpoint, "'"));
  }

  absl::Status Start(const std::string& checkpoint, Job job,
                     v1::Operation* response) {
    ASSIGN_OR_RETURN(Lease lease, backend_.leases.Acquire(
                                      ResourceName(kBundles, job.bundle)));
    const std::string bundle = job.bundle;
    auto operation = backend_.operations->Start(
        checkpoint, bundle,
        [job = std::move(job), lease = std::move(lease), backend = &backend_](
            const auto& on_progress, const auto& cancelled) {
          return RunJob(job, backend, on_progress, cancelled);
        });
    if (!operation.ok()) return RetryAfter(kRetryDelay, operation.status());
    *response = ToProto(*operation);
    return absl::OkStatus();
  }

  void Watch(const std::string& id, Outbox<v1::Operation>* outbox) {
    const auto tell = [outbox](const quantization::Operation& operation,
                               bool first) {
      if (first) {
        outbox->OfferFirst(ToProto(operation));
      } else {
        outbox->Offer(ToProto(operation));
      }
      if (operation.done()) outbox->Close(absl::OkStatus());
    };
    auto token = std::make_shared<int64_t>(0);
    outbox->SetHooks({.on_gone =
                          [outbox] {
                            outbox->Close(
                                absl::CancelledError("the client is gone"));
                          },
                      .on_done =
                          [token, operations = backend_.operations] {
                            operations->Unsubscribe(*token);
                          }});
    *token = backend_.operations->Subscribe(
        [id, tell](const quantization::Operation& operation) {
          if (operation.id == id) tell(operation, /*first=*/false);
        });
    const auto now = backend_.operations->Get(id);
    if (!now.ok()) return outbox->Close(now.status());
    tell(*now, /*first=*/true);
  }

  const Edge edge_;
  Backend& backend_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeQuantizationService(const Edge& files,
                                                       Backend* backend) {
  return std::make_unique<QuantizationService>(files, backend);
}

}  // namespace octet::rpc
