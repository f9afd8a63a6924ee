#include "server/rpc/oip/service.h"

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "inference/grpc_service.grpc.pb.h"
#include "kernels/status_macros.h"
#include "kernels/thread_pool.h"
#include "server/model/str_cat.h"
#include "server/rpc/calls/reactors.h"
#include "server/rpc/calls/status.h"
#include "server/rpc/calls/timings.h"
#include "server/rpc/calls/wire_reactors.h"
#include "server/rpc/oip/infer.h"
#include "server/rpc/oip/model.h"
#include "server/rpc/oip/repository.h"
#include "server/rpc/oip/server.h"
#include "server/rpc/oip/shared_memory.h"
#include "server/rpc/oip/statistics.h"
#include "server/rpc/resources/backend.h"
#include "server/rpc/wire/message.h"

namespace octet::rpc {
namespace {

using grpc::ByteBuffer;
using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;
using inference::ModelInferRequest;
using inference::ModelStreamInferResponse;

// Answers from memory, on the calling thread: such calls never wait behind
// work.
template <typename Request, typename Response, typename Work>
ServerUnaryReactor* AtOnce(const Edge& edge, std::string_view method,
                           CallbackServerContext* context,
                           const Request* request, const Response* response,
                           const Work& work) {
  const RpcScope scope(edge, method, context);
  scope.Received(*request);
  const absl::Status status = Guarded(work);
  if (status.ok()) scope.Sent(*response);
  ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(scope.Finish(status));
  return reactor;
}

// What gRPC generates takes all calls as messages or names them one by one:
// tensors are taken from the wire as they came, and put on it as they are.
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
using RawService = Rpc::WithRawCallbackMethod_ModelInfer<
    Rpc::WithRawCallbackMethod_ModelStreamInfer<SettingCalls>>;

ByteBuffer StreamAnswer(const std::string& id, bool final,
                        absl::StatusOr<oip::InferAnswer> answer) {
  ModelStreamInferResponse response;
  std::vector<grpc::Slice> tensors;
  if (answer.ok()) {
    *response.mutable_infer_response() = std::move(answer->fields);
    tensors = std::move(answer->tensors);
  } else {
    const absl::Status& status = answer.status();
    response.mutable_infer_response()->set_id(id);
    response.set_error_message(model::StrCat(
        CodeName(status.code()), ": ", ToGrpcStatus(status).error_message()));
  }
  if (final) oip::MarkFinal(*response.mutable_infer_response());
  return MakeMessage(LargeField(&response), response, tensors);
}

class OpenInferenceService final : public RawService {
 public:
  OpenInferenceService(const Edge& files, const Edge& compute, Backend* backend)
      : files_(files),
        compute_(compute),
        backend_(*backend),
        memory_(backend->allow_shared_memory) {}

  // The server

  ServerUnaryReactor* ServerLive(
      CallbackServerContext* context,
      const inference::ServerLiveRequest* request,
      inference::ServerLiveResponse* response) override {
    return AtOnce(compute_, "GRPCInferenceService/ServerLive", context, request,
                  response, [&] {
                    response->set_live(true);
                    return absl::OkStatus();
                  });
  }

  ServerUnaryReactor* ServerReady(
      CallbackServerContext* context,
      const inference::ServerReadyRequest* request,
      inference::ServerReadyResponse* response) override {
    return AtOnce(compute_, "GRPCInferenceService/ServerReady", context,
                  request, response, [&] {
                    response->set_ready(Ready());
                    return absl::OkStatus();
                  });
  }

  ServerUnaryReactor* ServerMetadata(
      CallbackServerContext* context,
      const inference::ServerMetadataRequest* request,
      inference::ServerMetadataResponse* response) override {
    return AtOnce(compute_, "GRPCInferenceService/ServerMetadata", context,
                  request, response, [&] {
                    oip::FillServerMetadata(memory_, response);
                    return absl::OkStatus();
                  });
  }

  // Models

  ServerUnaryReactor* ModelReady(
      CallbackServerContext* context,
      const inference::ModelReadyRequest* request,
      inference::ModelReadyResponse* response) override {
    return AtOnce(compute_, "GRPCInferenceService/ModelReady", context, request,
                  response, [&]() -> absl::Status {
                    const absl::Status found =
                        Find(request->name(), request->version()).status();
                    response->set_ready(found.ok() && Ready());
                    return absl::IsInvalidArgument(found) ? found
                                                          : absl::OkStatus();
                  });
  }

  ServerUnaryReactor* ModelMetadata(
      CallbackServerContext* context,
      const inference::ModelMetadataRequest* request,
      inference::ModelMetadataResponse* response) override {
    return AtOnce(compute_, "GRPCInferenceService/ModelMetadata", context,
                  request, response, [&]() -> absl::Status {
                    ASSIGN_OR_RETURN(const oip::Served served,
                                     Find(request->name(), request->version()));
                    oip::FillMetadata(
                        served, oip::AllVersions(*backend_.models, served),
                        response);
                    return absl::OkStatus();
                  });
  }

  ServerUnaryReactor* ModelConfig(
      CallbackServerContext* context,
      const inference::ModelConfigRequest* request,
      inference::ModelConfigResponse* response) override {
    return AtOnce(compute_, "GRPCInferenceService/ModelConfig", context,
                  request, response, [&]() -> absl::Status {
                    ASSIGN_OR_RETURN(const oip::Served served,
                                     Find(request->name(), request->version()));
                    oip::FillConfig(served, backend_.scheduler->options(),
                                    response->mutable_config());
                    return absl::OkStatus();
                  });
  }

  ServerUnaryReactor* ModelStatistics(
      CallbackServerContext* context,
      const inference::ModelStatisticsRequest* request,
      inference::ModelStatisticsResponse* response) override {
    return AtOnce(compute_, "GRPCInferenceService/ModelStatistics", context,
                  request, response, [&]() -> absl::Status {
                    ASSIGN_OR_RETURN(
                        const std::vector<oip::Served> served,
                        FindAll(request->name(), request->version()));
                    statistics_.Fill(served, response);
                    return absl::OkStatus();
                  });
  }

  // Inference

  ServerUnaryReactor* ModelInfer(CallbackServerContext* context,
                                 const ByteBuffer* request,
                                 ByteBuffer* response) override {
    return ReplyWire(
        compute_, "GRPCInferenceService/ModelInfer", context, request, response,
        [this](WireRequest& wire, WireAnswer answer) -> absl::Status {
          Received<ModelInferRequest> received;
          RETURN_IF_ERROR(received.Parse(&wire.bytes));
          Infer(wire, std::move(received),
                [unary = wire.unary, answer = std::move(answer)](
                    absl::StatusOr<oip::InferAnswer> result) {
                  if (!result.ok()) return answer(result.status());
                  AddServerTiming(result->times, unary);
                  answer(MakeMessage(LargeField(&result->fields),
                                     result->fields, result->tensors));
                });
          return absl::OkStatus();
        });
  }

  // A request that fails is answered by its error, and the stream goes on.
  grpc::ServerBidiReactor<ByteBuffer, ByteBuffer>* ModelStreamInfer(
      CallbackServerContext* context) override {
    return PipelineWire(
        compute_, "GRPCInferenceService/ModelStreamInfer", context,
        PipelineOptions(),
        [this](WireRequest& wire, WireAnswer answer) -> absl::Status {
          Received<ModelInferRequest> received;
          RETURN_IF_ERROR(received.Parse(&wire.bytes));
          const std::string id = received.fields.id();
          const bool final = oip::WantsFinalMark(received.fields);
          Infer(wire, std::move(received),
                [id, final, answer = std::move(answer)](
                    absl::StatusOr<oip::InferAnswer> result) {
                  answer(StreamAnswer(id, final, std::move(result)));
                });
          return absl::OkStatus();
        });
  }

  // The repository

  ServerUnaryReactor* RepositoryIndex(
      CallbackServerContext* context,
      const inference::RepositoryIndexRequest* request,
      inference::RepositoryIndexResponse* response) override {
    return Reply(files_, "GRPCInferenceService/RepositoryIndex", context,
                 request, response, [=, this](const Call&) {
                   return oip::ListRepository(backend_, *request, response);
                 });
  }

  ServerUnaryReactor* RepositoryModelLoad(
      CallbackServerContext* context,
      const inference::RepositoryModelLoadRequest* request,
      inference::RepositoryModelLoadResponse* response) override {
    return Reply(files_, "GRPCInferenceService/RepositoryModelLoad", context,
                 request, response, [=, this](const Call&) {
                   return oip::LoadFromRepository(backend_, *request);
                 });
  }

  ServerUnaryReactor* RepositoryModelUnload(
      CallbackServerContext* context,
      const inference::RepositoryModelUnloadRequest* request,
      inference::RepositoryModelUnloadResponse* response) override {
    return Reply(files_, "GRPCInferenceService/RepositoryModelUnload", context,
                 request, response, [=, this](const Call&) {
                   return oip::UnloadFromRepository(backend_, *request);
                 });
  }

  // Shared memory

  ServerUnaryReactor* SystemSharedMemoryStatus(
      CallbackServerContext* context,
      const inference::SystemSharedMemoryStatusRequest* request,
      inference::SystemSharedMemoryStatusResponse* response) override {
    return AtOnce(compute_, "GRPCInferenceService/SystemSharedMemoryStatus",
                  context, request, response, [&] {
                    return oip::FillRegions(memory_, *request, response);
                  });
  }

  ServerUnaryReactor* SystemSharedMemoryRegister(
      CallbackServerContext* context,
      const inference::SystemSharedMemoryRegisterRequest* request,
      inference::SystemSharedMemoryRegisterResponse* response) override {
    return Reply(files_, "GRPCInferenceService/SystemSharedMemoryRegister",
                 context, request, response, [=, this](const Call&) {
                   return memory_.Register(request->name(), request->key(),
                                           request->offset(),
                                           request->byte_size());
                 });
  }

  ServerUnaryReactor* SystemSharedMemoryUnregister(
      CallbackServerContext* context,
      const inference::SystemSharedMemoryUnregisterRequest* request,
      inference::SystemSharedMemoryUnregisterResponse* response) override {
    return AtOnce(compute_, "GRPCInferenceService/SystemSharedMemoryUnregister",
                  context, request, response, [&] {
                    if (request->name().empty()) {
                      memory_.UnregisterAll();
                    } else {
                      memory_.Unregister(request->name());
                    }
                    return absl::OkStatus();
                  });
  }

  // Clients that use the other kind of shared memory forget all regions of
  // this one, too; there never are any.
  ServerUnaryReactor* CudaSharedMemoryStatus(
      CallbackServerContext* context,
      const inference::CudaSharedMemoryStatusRequest* request,
      inference::CudaSharedMemoryStatusResponse* response) override {
    return AtOnce(compute_, "GRPCInferenceService/CudaSharedMemoryStatus",
                  context, request, response, [] { return absl::OkStatus(); });
  }

  ServerUnaryReactor* CudaSharedMemoryRegister(
      CallbackServerContext* context,
      const inference::CudaSharedMemoryRegisterRequest* request,
      inference::CudaSharedMemoryRegisterResponse* response) override {
    return AtOnce(compute_, "GRPCInferenceService/CudaSharedMemoryRegister",
                  context, request, response, [] {
                    return absl::UnimplementedError(
                        "the server computes on CPUs and takes no CUDA shared "
                        "memory; use system shared memory");
                  });
  }

  ServerUnaryReactor* CudaSharedMemoryUnregister(
      CallbackServerContext* context,
      const inference::CudaSharedMemoryUnregisterRequest* request,
      inference::CudaSharedMemoryUnregisterResponse* response) override {
    return AtOnce(compute_, "GRPCInferenceService/CudaSharedMemoryUnregister",
                  context, request, response, [] { return absl::OkStatus(); });
  }

  // Settings

  ServerUnaryReactor* TraceSetting(
      CallbackServerContext* context,
      const inference::TraceSettingRequest* request,
      inference::TraceSettingResponse* response) override {
    return AtOnce(compute_, "GRPCInferenceService/TraceSetting", context,
                  request, response,
                  [&] { return oip::FillTraceSettings(*request, response); });
  }

  ServerUnaryReactor* LogSettings(
      CallbackServerContext* context,
      const inference::LogSettingsRequest* request,
      inference::LogSettingsResponse* response) override {
    return AtOnce(compute_, "GRPCInferenceService/LogSettings", context,
                  request, response,
                  [&] { return oip::FillLogSettings(*request, response); });
  }

 private:
  void Infer(const WireRequest& wire, Received<ModelInferRequest> received,
             std::function<void(absl::StatusOr<oip::InferAnswer>)> done) {
    wire.scope->About(received.fields.model_name());
    oip::Infer(
        {&backend_, &memory_, &statistics_},
        {wire.arrival, wire.deadline, wire.cancelled}, std::move(received),
        [scope = wire.scope,
         done = std::move(done)](absl::StatusOr<oip::InferAnswer> answer) {
          if (answer.ok()) scope->Queued(answer->times.queue);
          done(std::move(answer));
        });
  }

  bool Ready() const { return compute_.ready->load(std::memory_order_relaxed); }

  absl::StatusOr<oip::Served> Find(const std::string& name,
                                   const std::string& version) const {
    return oip::Resolve(*backend_.models, name, version,
                        oip::Purpose::kDescribe);
  }

  // Without a version all of them, without a name all models.
  absl::StatusOr<std::vector<oip::Served>> FindAll(
      const std::string& name, const std::string& version) const {
    std::vector<oip::Served> all;
    if (name.empty()) {
      for (auto& model : backend_.models->List()) {
        all.push_back({std::move(model), ""});
      }
      return all;
    }
    ASSIGN_OR_RETURN(oip::Served served, Find(name, version));
    if (version.empty()) return oip::AllVersions(*backend_.models, served);
    all.push_back(std::move(served));
    return all;
  }

  const Edge files_;
  const Edge compute_;
  Backend& backend_;
  oip::SharedMemory memory_;
  oip::Statistics statistics_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeOpenInferenceService(const Edge& files,
                                                        const Edge& compute,
                                                        Backend* backend) {
  return std::make_unique<OpenInferenceService>(files, compute, backend);
}

}  // namespace octet::rpc
