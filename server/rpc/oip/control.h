// Every call of the Open Inference Protocol that is no inference: what the
// server and its models are, the repository, shared memory, settings.

#ifndef OCTET_SERVER_RPC_OIP_CONTROL_H_
#define OCTET_SERVER_RPC_OIP_CONTROL_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "inference/grpc_service.grpc.pb.h"
#include "server/rpc/calls/reactors.h"
#include "server/rpc/oip/model.h"
#include "server/rpc/oip/shared_memory.h"
#include "server/rpc/oip/statistics.h"
#include "server/rpc/resources/backend.h"

namespace octet::rpc::oip {

// What all calls have in common.
struct Shared {
  Shared(const Edge& edge, Backend* backend)
      : edge(edge), backend(backend), memory(backend->allow_shared_memory) {}

  const Edge edge;  // where work runs that touches disks and stores
  Backend* const backend;
  SharedMemory memory;
  Statistics statistics;
};

// What gRPC generates takes all calls as messages or names them one by one:
// those of inference are taken from the wire as they came (service.cc).
using Rpc = inference::GRPCInferenceService;
using ServerCalls =
    Rpc::WithCallbackMethod_ServerLive<Rpc::WithCallbackMethod_ServerReady<
        Rpc::WithCallbackMethod_ServerMetadata<Rpc::Service>>>;
using ModelCalls = Rpc::WithCallbackMethod_ModelReady<
    Rpc::WithCallbackMethod_ModelMetadata<Rpc::WithCallbackMethod_ModelConfig<
        Rpc::WithCallbackMethod_ModelStatistics<ServerCalls>>>>;
using RepositoryCalls = Rpc::WithCallbackMethod_RepositoryIndex<
    Rpc::WithCallbackMethod_RepositoryModelLoad<
        Rpc::WithCallbackMethod_RepositoryModelUnload<ModelCalls>>>;
using SystemMemoryCalls = Rpc::WithCallbackMethod_SystemSharedMemoryStatus<
    Rpc::WithCallbackMethod_SystemSharedMemoryRegister<
        Rpc::WithCallbackMethod_SystemSharedMemoryUnregister<RepositoryCalls>>>;
using CudaMemoryCalls = Rpc::WithCallbackMethod_CudaSharedMemoryStatus<
    Rpc::WithCallbackMethod_CudaSharedMemoryRegister<
        Rpc::WithCallbackMethod_CudaSharedMemoryUnregister<SystemMemoryCalls>>>;
using SettingCalls = Rpc::WithCallbackMethod_TraceSetting<
    Rpc::WithCallbackMethod_LogSettings<CudaMemoryCalls>>;

class ControlCalls : public SettingCalls {
 public:
  grpc::ServerUnaryReactor* ServerLive(
      grpc::CallbackServerContext* context,
      const inference::ServerLiveRequest* request,
      inference::ServerLiveResponse* response) override;
  grpc::ServerUnaryReactor* ServerReady(
      grpc::CallbackServerContext* context,
      const inference::ServerReadyRequest* request,
      inference::ServerReadyResponse* response) override;
  grpc::ServerUnaryReactor* ServerMetadata(
      grpc::CallbackServerContext* context,
      const inference::ServerMetadataRequest* request,
      inference::ServerMetadataResponse* response) override;
  grpc::ServerUnaryReactor* ModelReady(
      grpc::CallbackServerContext* context,
      const inference::ModelReadyRequest* request,
      inference::ModelReadyResponse* response) override;
  grpc::ServerUnaryReactor* ModelMetadata(
      grpc::CallbackServerContext* context,
      const inference::ModelMetadataRequest* request,
      inference::ModelMetadataResponse* response) override;
  grpc::ServerUnaryReactor* ModelConfig(
      grpc::CallbackServerContext* context,
      const inference::ModelConfigRequest* request,
      inference::ModelConfigResponse* response) override;
  grpc::ServerUnaryReactor* ModelStatistics(
      grpc::CallbackServerContext* context,
      const inference::ModelStatisticsRequest* request,
      inference::ModelStatisticsResponse* response) override;
  grpc::ServerUnaryReactor* RepositoryIndex(
      grpc::CallbackServerContext* context,
      const inference::RepositoryIndexRequest* request,
      inference::RepositoryIndexResponse* response) override;
  grpc::ServerUnaryReactor* RepositoryModelLoad(
      grpc::CallbackServerContext* context,
      const inference::RepositoryModelLoadRequest* request,
      inference::RepositoryModelLoadResponse* response) override;
  grpc::ServerUnaryReactor* RepositoryModelUnload(
      grpc::CallbackServerContext* context,
      const inference::RepositoryModelUnloadRequest* request,
      inference::RepositoryModelUnloadResponse* response) override;
  grpc::ServerUnaryReactor* SystemSharedMemoryStatus(
      grpc::CallbackServerContext* context,
      const inference::SystemSharedMemoryStatusRequest* request,
      inference::SystemSharedMemoryStatusResponse* response) override;
  grpc::ServerUnaryReactor* SystemSharedMemoryRegister(
      grpc::CallbackServerContext* context,
      const inference::SystemSharedMemoryRegisterRequest* request,
      inference::SystemSharedMemoryRegisterResponse* response) override;
  grpc::ServerUnaryReactor* SystemSharedMemoryUnregister(
      grpc::CallbackServerContext* context,
      const inference::SystemSharedMemoryUnregisterRequest* request,
      inference::SystemSharedMemoryUnregisterResponse* response) override;
  grpc::ServerUnaryReactor* CudaSharedMemoryStatus(
      grpc::CallbackServerContext* context,
      const inference::CudaSharedMemoryStatusRequest* request,
      inference::CudaSharedMemoryStatusResponse* response) override;
  grpc::ServerUnaryReactor* CudaSharedMemoryRegister(
      grpc::CallbackServerContext* context,
      const inference::CudaSharedMemoryRegisterRequest* request,
      inference::CudaSharedMemoryRegisterResponse* response) override;
  grpc::ServerUnaryReactor* CudaSharedMemoryUnregister(
      grpc::CallbackServerContext* context,
      const inference::CudaSharedMemoryUnregisterRequest* request,
      inference::CudaSharedMemoryUnregisterResponse* response) override;
  grpc::ServerUnaryReactor* TraceSetting(
      grpc::CallbackServerContext* context,
      const inference::TraceSettingRequest* request,
      inference::TraceSettingResponse* response) override;
  grpc::ServerUnaryReactor* LogSettings(
      grpc::CallbackServerContext* context,
      const inference::LogSettingsRequest* request,
      inference::LogSettingsResponse* response) override;

 protected:
  // Made by those that derive from it, before the first call: gRPC's templates
  // make their bases without arguments.
  std::unique_ptr<Shared> shared_;

 private:
  bool Ready() const;
  absl::StatusOr<Served> Find(const std::string& name,
                              const std::string& version) const;
  // Without a version all of them, without a name all models.
  absl::StatusOr<std::vector<Served>> FindAll(const std::string& name,
                                              const std::string& version) const;
};

}  // namespace octet::rpc::oip

#endif  // OCTET_SERVER_RPC_OIP_CONTROL_H_
