#include "server/rpc/oip/control.h"

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "kernels/status_macros.h"
#include "server/rpc/calls/call_gate.h"
#include "server/rpc/calls/status.h"
#include "server/rpc/oip/repository.h"
#include "server/rpc/oip/server.h"

namespace octet::rpc::oip {
namespace {

using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

ServerUnaryReactor* Finish(const RpcScope& scope, const absl::Status& status) {
  ServerUnaryReactor* reactor = scope.context().DefaultReactor();
  reactor->Finish(scope.Finish(status));
  return reactor;
}

// Answers from memory, on the calling thread: such calls never wait behind
// work.
template <typename Request, typename Response, typename Work>
ServerUnaryReactor* AtOnce(const Edge& edge, std::string_view method,
                           CallbackServerContext* context,
                           const Request* request, const Response* response,
                           const Work& work) {
  const RpcScope scope(edge, method, context);
  scope.Received(*request);
  if (!scope.admission().ok()) return Finish(scope, scope.admission());
  const absl::Status status = Guarded(work);
  if (status.ok()) scope.Sent(*response);
  return Finish(scope, status);
}

// The same of questions that have an answer at any time, from the first call to
// the last, for any client.
template <typename Request, typename Response, typename Work>
ServerUnaryReactor* Probe(const Edge& edge, std::string_view method,
                          CallbackServerContext* context,
                          const Request* request, const Response* response,
                          const Work& work) {
  const RpcScope scope(edge, method, context, CallShape::kProbe);
  scope.Received(*request);
  const absl::Status status = Guarded(work);
  if (status.ok()) scope.Sent(*response);
  return Finish(scope, status);
}

}  // namespace

// The server

ServerUnaryReactor* ControlCalls::ServerLive(
    CallbackServerContext* context, const inference::ServerLiveRequest* request,
    inference::ServerLiveResponse* response) {
  return Probe(shared_->edge, "GRPCInferenceService/ServerLive", context,
               request, response, [&] {
                 response->set_live(true);
                 return absl::OkStatus();
               });
}

ServerUnaryReactor* ControlCalls::ServerReady(
    CallbackServerContext* context,
    const inference::ServerReadyRequest* request,
    inference::ServerReadyResponse* response) {
  return Probe(shared_->edge, "GRPCInferenceService/ServerReady", context,
               request, response, [&] {
                 response->set_ready(Ready());
                 return absl::OkStatus();
               });
}

ServerUnaryReactor* ControlCalls::ServerMetadata(
    CallbackServerContext* context,
    const inference::ServerMetadataRequest* request,
    inference::ServerMetadataResponse* response) {
  return AtOnce(shared_->edge, "GRPCInferenceService/ServerMetadata", context,
                request, response, [&] {
                  FillServerMetadata(shared_->memory, response);
                  return absl::OkStatus();
                });
}

// Models

ServerUnaryReactor* ControlCalls::ModelReady(
    CallbackServerContext* context, const inference::ModelReadyRequest* request,
    inference::ModelReadyResponse* response) {
  return Probe(shared_->edge, "GRPCInferenceService/ModelReady", context,
               request, response, [&]() -> absl::Status {
                 const absl::Status found =
                     Resolve(*shared_->backend->models, request->name(),
                             request->version(), Purpose::kAsk)
                         .status();
                 response->set_ready(found.ok() && Ready());
                 return absl::IsInvalidArgument(found) ? found
                                                       : absl::OkStatus();
               });
}

ServerUnaryReactor* ControlCalls::ModelMetadata(
    CallbackServerContext* context,
    const inference::ModelMetadataRequest* request,
    inference::ModelMetadataResponse* response) {
  return AtOnce(shared_->edge, "GRPCInferenceService/ModelMetadata", context,
                request, response, [&]() -> absl::Status {
                  ASSIGN_OR_RETURN(const Served served,
                                   Find(request->name(), request->version()));
                  FillMetadata(served,
                               AllVersions(*shared_->backend->models, served),
                               response);
                  return absl::OkStatus();
                });
}

ServerUnaryReactor* ControlCalls::ModelConfig(
    CallbackServerContext* context,
    const inference::ModelConfigRequest* request,
    inference::ModelConfigResponse* response) {
  return AtOnce(shared_->edge, "GRPCInferenceService/ModelConfig", context,
                request, response, [&]() -> absl::Status {
                  ASSIGN_OR_RETURN(const Served served,
                                   Find(request->name(), request->version()));
                  FillConfig(served, shared_->backend->scheduler->options(),
                             response->mutable_config());
                  return absl::OkStatus();
                });
}

ServerUnaryReactor* ControlCalls::ModelStatistics(
    CallbackServerContext* context,
    const inference::ModelStatisticsRequest* request,
    inference::ModelStatisticsResponse* response) {
  return AtOnce(shared_->edge, "GRPCInferenceService/ModelStatistics", context,
                request, response, [&]() -> absl::Status {
                  ASSIGN_OR_RETURN(
                      const std::vector<Served> served,
                      FindAll(request->name(), request->version()));
                  shared_->statistics.Fill(served, response);
                  return absl::OkStatus();
                });
}

// The repository

ServerUnaryReactor* ControlCalls::RepositoryIndex(
    CallbackServerContext* context,
    const inference::RepositoryIndexRequest* request,
    inference::RepositoryIndexResponse* response) {
  return Reply(shared_->edge, "GRPCInferenceService/RepositoryIndex", context,
               request, response, [=, this](const Call&) {
                 return ListRepository(*shared_->backend, *request, response);
               });
}

ServerUnaryReactor* ControlCalls::RepositoryModelLoad(
    CallbackServerContext* context,
    const inference::RepositoryModelLoadRequest* request,
    inference::RepositoryModelLoadResponse* response) {
  return Reply(shared_->edge, "GRPCInferenceService/RepositoryModelLoad",
               context, request, response, [=, this](const Call&) {
                 return LoadFromRepository(*shared_->backend, *request);
               });
}

ServerUnaryReactor* ControlCalls::RepositoryModelUnload(
    CallbackServerContext* context,
    const inference::RepositoryModelUnloadRequest* request,
    inference::RepositoryModelUnloadResponse* response) {
  return Reply(shared_->edge, "GRPCInferenceService/RepositoryModelUnload",
               context, request, response, [=, this](const Call&) {
                 return UnloadFromRepository(*shared_->backend, *request);
               });
}

// Shared memory

ServerUnaryReactor* ControlCalls::SystemSharedMemoryStatus(
    CallbackServerContext* context,
    const inference::SystemSharedMemoryStatusRequest* request,
    inference::SystemSharedMemoryStatusResponse* response) {
  return AtOnce(shared_->edge, "GRPCInferenceService/SystemSharedMemoryStatus",
                context, request, response, [&] {
                  return FillRegions(shared_->memory, *request, response);
                });
}

ServerUnaryReactor* ControlCalls::SystemSharedMemoryRegister(
    CallbackServerContext* context,
    const inference::SystemSharedMemoryRegisterRequest* request,
    inference::SystemSharedMemoryRegisterResponse* response) {
  return Reply(shared_->edge, "GRPCInferenceService/SystemSharedMemoryRegister",
               context, request, response, [=, this](const Call&) {
                 return shared_->memory.Register(
                     request->name(), request->key(), request->offset(),
                     request->byte_size());
               });
}

ServerUnaryReactor* ControlCalls::SystemSharedMemoryUnregister(
    CallbackServerContext* context,
    const inference::SystemSharedMemoryUnregisterRequest* request,
    inference::SystemSharedMemoryUnregisterResponse* response) {
  return AtOnce(shared_->edge,
                "GRPCInferenceService/SystemSharedMemoryUnregister", context,
                request, response, [&] {
                  if (request->name().empty()) {
                    shared_->memory.UnregisterAll();
                  } else {
                    shared_->memory.Unregister(request->name());
                  }
                  return absl::OkStatus();
                });
}

// Clients that use the other kind of shared memory forget all regions of
// this one, too; there never are any.

ServerUnaryReactor* ControlCalls::CudaSharedMemoryStatus(
    CallbackServerContext* context,
    const inference::CudaSharedMemoryStatusRequest* request,
    inference::CudaSharedMemoryStatusResponse* response) {
  return AtOnce(shared_->edge, "GRPCInferenceService/CudaSharedMemoryStatus",
                context, request, response, [] { return absl::OkStatus(); });
}

ServerUnaryReactor* ControlCalls::CudaSharedMemoryRegister(
    CallbackServerContext* context,
    const inference::CudaSharedMemoryRegisterRequest* request,
    inference::CudaSharedMemoryRegisterResponse* response) {
  return AtOnce(shared_->edge, "GRPCInferenceService/CudaSharedMemoryRegister",
                context, request, response, [] {
                  return absl::UnimplementedError(
                      "the server computes on CPUs and takes no CUDA shared "
                      "memory; use system shared memory");
                });
}

ServerUnaryReactor* ControlCalls::CudaSharedMemoryUnregister(
    CallbackServerContext* context,
    const inference::CudaSharedMemoryUnregisterRequest* request,
    inference::CudaSharedMemoryUnregisterResponse* response) {
  return AtOnce(shared_->edge,
                "GRPCInferenceService/CudaSharedMemoryUnregister", context,
                request, response, [] { return absl::OkStatus(); });
}

// Settings

ServerUnaryReactor* ControlCalls::TraceSetting(
    CallbackServerContext* context,
    const inference::TraceSettingRequest* request,
    inference::TraceSettingResponse* response) {
  return AtOnce(shared_->edge, "GRPCInferenceService/TraceSetting", context,
                request, response,
                [&] { return FillTraceSettings(*request, response); });
}

ServerUnaryReactor* ControlCalls::LogSettings(
    CallbackServerContext* context,
    const inference::LogSettingsRequest* request,
    inference::LogSettingsResponse* response) {
  return AtOnce(shared_->edge, "GRPCInferenceService/LogSettings", context,
                request, response,
                [&] { return FillLogSettings(*request, response); });
}

bool ControlCalls::Ready() const {
  return shared_->edge.gate->phase == Phase::kServing;
}

absl::StatusOr<Served> ControlCalls::Find(const std::string& name,
                                          const std::string& version) const {
  return Resolve(*shared_->backend->models, name, version, Purpose::kDescribe);
}

absl::StatusOr<std::vector<Served>> ControlCalls::FindAll(
    const std::string& name, const std::string& version) const {
  std::vector<Served> all;
  if (name.empty()) {
    for (auto& model : shared_->backend->models->List()) {
      all.push_back({std::move(model), ""});
    }
    return all;
  }
  ASSIGN_OR_RETURN(Served served, Find(name, version));
  if (version.empty()) return AllVersions(*shared_->backend->models, served);
  all.push_back(std::move(served));
  return all;
}

}  // namespace octet::rpc::oip
