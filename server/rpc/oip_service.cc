// GRPCInferenceService: the Open Inference Protocol over the same models,
// scheduler and stores as octet.v1. docs/open-inference-protocol.md.

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "inference/grpc_service.grpc.pb.h"
#include "kernels/status_macros.h"
#include "kernels/thread_pool.h"
#include "server/model/str_cat.h"
#include "server/rpc/backend.h"
#include "server/rpc/oip_infer.h"
#include "server/rpc/oip_model.h"
#include "server/rpc/oip_repository.h"
#include "server/rpc/oip_shared_memory.h"
#include "server/rpc/oip_statistics.h"
#include "server/rpc/pipeline.h"
#include "server/rpc/reactors.h"
#include "server/rpc/services.h"
#include "server/rpc/status.h"
#include "server/telemetry/build_info.h"
#include "spdlog/spdlog.h"

namespace octet::rpc {
namespace {

using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;
using inference::ModelInferRequest;
using inference::ModelInferResponse;
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

class InferReactor final : public ServerUnaryReactor {
 public:
  InferReactor(const Edge& edge, const oip::InferContext& infer,
               CallbackServerContext* context, const ModelInferRequest* request,
               ModelInferResponse* response)
      : scope_(edge, "GRPCInferenceService/ModelInfer", context),
        response_(*response) {
    scope_.Received(*request);
    if (!edge.ready->load(std::memory_order_relaxed)) {
      End(absl::UnavailableError("the server is starting"));
      return;
    }
    const oip::Caller caller = {
        .arrival = scope_.arrival(),
        .deadline = absl::FromChrono(context->deadline()),
        .cancelled = [context] { return context->IsCancelled(); }};
    oip::Infer(infer, caller, request, response,
               [this](const absl::Status& status) { End(status); });
  }

  void OnDone() override { delete this; }

 private:
  void End(const absl::Status& status) {
    if (status.ok()) scope_.Sent(response_);
    Finish(scope_.Finish(status));
  }

  const RpcScope scope_;
  const ModelInferResponse& response_;
};

class OpenInferenceService final
    : public inference::GRPCInferenceService::CallbackService {
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
    return AtOnce(
        compute_, "GRPCInferenceService/ServerMetadata", context, request,
        response, [&] {
          response->set_name("octet");
          response->set_version(std::string(telemetry::GetBuildInfo().version));
          for (const char* extension :
               {"binary_tensor_data", "model_configuration", "model_repository",
                "parameters", "schedule_policy", "statistics"}) {
            response->add_extensions(extension);
          }
          if (memory_.allowed()) {
            response->add_extensions("system_shared_memory");
          }
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
                    oip::FillMetadata(served, response);
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
                    oip::FillConfig(served, backend_.pool->threads(),
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
                    std::vector<oip::Served> served;
                    if (request->name().empty()) {
                      for (auto& model : backend_.models->List()) {
                        served.push_back({std::move(model), ""});
                      }
                    } else {
                      ASSIGN_OR_RETURN(
                          served.emplace_back(),
                          Find(request->name(), request->version()));
                    }
                    statistics_.Fill(served, response);
                    return absl::OkStatus();
                  });
  }

  // Inference

  ServerUnaryReactor* ModelInfer(CallbackServerContext* context,
                                 const ModelInferRequest* request,
                                 ModelInferResponse* response) override {
    return new InferReactor(compute_, {&backend_, &memory_, &statistics_},
                            context, request, response);
  }

  grpc::ServerBidiReactor<ModelInferRequest, ModelStreamInferResponse>*
  ModelStreamInfer(CallbackServerContext* context) override {
    return new PipelineReactor<ModelInferRequest, ModelStreamInferResponse>(
        compute_, "GRPCInferenceService/ModelStreamInfer", context,
        [this, context](const ModelInferRequest& request, absl::Time arrival,
                        ModelStreamInferResponse* response,
                        std::function<void(const absl::Status&)> done) {
          InferOnStream(context, request, arrival, response, std::move(done));
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
                  context, request, response, [&]() -> absl::Status {
                    if (!request->name().empty()) {
                      RETURN_IF_ERROR(memory_.Find(request->name()).status());
                    }
                    for (const auto& [name, region] : memory_.List()) {
                      if (!request->name().empty() && name != request->name())
                        continue;
                      auto& status = (*response->mutable_regions())[name];
                      status.set_name(name);
                      status.set_key(region->key());
                      status.set_offset(region->offset());
                      status.set_byte_size(region->byte_size());
                    }
                    return absl::OkStatus();
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
    return AtOnce(
        compute_, "GRPCInferenceService/TraceSetting", context, request,
        response, [&] {
          if (!request->settings().empty()) {
            return absl::UnimplementedError(
                "the server writes no traces; stages of requests are "
                "in /metrics and in ModelStatistics");
          }
          (*response->mutable_settings())["trace_level"].add_value("OFF");
          return absl::OkStatus();
        });
  }

  ServerUnaryReactor* LogSettings(
      CallbackServerContext* context,
      const inference::LogSettingsRequest* request,
      inference::LogSettingsResponse* response) override {
    return AtOnce(
        compute_, "GRPCInferenceService/LogSettings", context, request,
        response, [&] {
          if (!request->settings().empty()) {
            return absl::UnimplementedError(
                "what is logged is set when the server starts: --log-level");
          }
          const auto logs = [](spdlog::level::level_enum level) {
            return spdlog::get_level() <= level;
          };
          auto& settings = *response->mutable_settings();
          settings["log_error"].set_bool_param(logs(spdlog::level::err));
          settings["log_warning"].set_bool_param(logs(spdlog::level::warn));
          settings["log_info"].set_bool_param(logs(spdlog::level::info));
          settings["log_verbose_level"].set_uint32_param(
              logs(spdlog::level::debug) ? 1 : 0);
          return absl::OkStatus();
        });
  }

 private:
  // A request that fails is answered by its error, and the stream goes on.
  void InferOnStream(CallbackServerContext* context,
                     const ModelInferRequest& request, absl::Time arrival,
                     ModelStreamInferResponse* response,
                     std::function<void(const absl::Status&)> done) {
    const oip::Caller caller = {
        .arrival = arrival,
        .deadline = absl::FromChrono(context->deadline()),
        .cancelled = [context] { return context->IsCancelled(); }};
    const auto end = [&request, response,
                      done = std::move(done)](const absl::Status& status) {
      ModelInferResponse& answer = *response->mutable_infer_response();
      if (!status.ok()) {
        answer.Clear();
        answer.set_id(request.id());
        response->set_error_message(
            model::StrCat(CodeName(status.code()), ": ",
                          ToGrpcStatus(status).error_message()));
      }
      oip::MarkFinal(request, answer);
      done(absl::OkStatus());
    };
    if (!Ready()) return end(absl::UnavailableError("the server is starting"));
    oip::Infer({&backend_, &memory_, &statistics_}, caller, &request,
               response->mutable_infer_response(), end);
  }

  bool Ready() const { return compute_.ready->load(std::memory_order_relaxed); }

  absl::StatusOr<oip::Served> Find(const std::string& name,
                                   const std::string& version) const {
    return oip::Resolve(*backend_.models, name, version);
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
