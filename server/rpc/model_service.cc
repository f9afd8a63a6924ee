// ModelService: what is served.

#include <memory>
#include <string>

#include "kernels/status_macros.h"
#include "octet/v1/model_service.grpc.pb.h"
#include "server/bundle/directory_store.h"
#include "server/model/graph.h"
#include "server/rpc/backend.h"
#include "server/rpc/messages.h"
#include "server/rpc/reactors.h"
#include "server/rpc/resource_names.h"
#include "server/rpc/services.h"
#include "server/serving/model_registry.h"

namespace octet::rpc {
namespace {

using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

v1::InputKind ToProto(model::InputKind kind) {
  switch (kind) {
    case model::InputKind::kTokens:
      return v1::INPUT_KIND_TOKENS;
    case model::InputKind::kFeatures:
      return v1::INPUT_KIND_FEATURES;
    case model::InputKind::kNone:
      return v1::INPUT_KIND_NONE;
  }
  return v1::INPUT_KIND_UNSPECIFIED;
}

void Fill(const serving::LoadedModel& loaded, v1::Model* out) {
  const model::Graph& graph = loaded.model().graph();
  out->set_name(ResourceName(kModels, loaded.id()));
  out->set_source(loaded.source());
  out->set_version(loaded.version());
  out->set_family(graph.family);
  out->set_input_kind(ToProto(graph.input));
  out->set_vocabulary_size(static_cast<int64_t>(graph.vocabulary));
  out->set_max_sequence_length(static_cast<int64_t>(graph.max_positions));
  out->set_input_width(static_cast<int64_t>(graph.input_width));
  if (graph.output) {
    out->set_output_width(static_cast<int64_t>(graph.widths[*graph.output]));
  }
  FillLayers(graph, out->mutable_layers());
  out->set_resident_bytes(
      static_cast<int64_t>(loaded.model().resident_bytes()));
  out->set_isa(loaded.isa());
  *out->mutable_load_time() = ToTimestamp(loaded.load_time());
}

void Fill(const serving::LoadedModel& loaded, v1::ModelStats* out) {
  const serving::ModelStats stats = loaded.stats();
  constexpr double kSecondsPerNanosecond = 1e-9;
  out->set_name(ResourceName(kModels, loaded.id()));
  out->set_forward_count(stats.forward_count);
  out->set_matmul_count(stats.matmul_count);
  out->set_row_count(stats.row_count);
  out->set_quantize_seconds(stats.times.quantize_ns * kSecondsPerNanosecond);
  out->set_dot_seconds(stats.times.dot_ns * kSecondsPerNanosecond);
  out->set_dequantize_seconds(stats.times.dequantize_ns *
                              kSecondsPerNanosecond);
  out->set_outlier_seconds(stats.times.outlier_ns * kSecondsPerNanosecond);
}

// "bundles/{id}" or "checkpoints/{id}".
absl::Status CheckSource(const std::string& source) {
  const std::string_view collection =
      source.starts_with("checkpoints/") ? kCheckpoints : kBundles;
  if (ParseName("source", collection, source).ok()) return absl::OkStatus();
  return FieldViolation("source",
                        "must be 'bundles/{id}' or 'checkpoints/{id}'");
}

class ModelService final : public v1::ModelService::CallbackService {
 public:
  ModelService(const Edge& edge, Backend* backend)
      : edge_(edge), backend_(*backend) {}

  ServerUnaryReactor* LoadModel(CallbackServerContext* context,
                                const v1::LoadModelRequest* request,
                                v1::Model* response) override {
    return Reply(
        edge_, "ModelService/LoadModel", context, request, response,
        [=, this](const Call&) -> absl::Status {
          RETURN_IF_ERROR(bundle::ValidateId("model_id", request->model_id()));
          RETURN_IF_ERROR(CheckSource(request->source()));
          absl::ReaderMutexLock lock(&backend_.dependencies);
          ASSIGN_OR_RETURN(
              const auto loaded,
              backend_.models->Load(request->model_id(), request->source()));
          Fill(*loaded, response);
          return absl::OkStatus();
        });
  }

  ServerUnaryReactor* UnloadModel(CallbackServerContext* context,
                                  const v1::UnloadModelRequest* request,
                                  google::protobuf::Empty* response) override {
    return Reply(edge_, "ModelService/UnloadModel", context, request, response,
                 [=, this](const Call&) -> absl::Status {
                   ASSIGN_OR_RETURN(
                       const std::string id,
                       ParseName("name", kModels, request->name()));
                   return backend_.models->Unload(id);
                 });
  }

  ServerUnaryReactor* GetModel(CallbackServerContext* context,
                               const v1::GetModelRequest* request,
                               v1::Model* response) override {
    return Reply(
        edge_, "ModelService/GetModel", context, request, response,
        [=, this](const Call&) { return Describe(request->name(), response); });
  }

  ServerUnaryReactor* ListModels(CallbackServerContext* context,
                                 const v1::ListModelsRequest* request,
                                 v1::ListModelsResponse* response) override {
    return Reply(edge_, "ModelService/ListModels", context, request, response,
                 [=, this](const Call&) {
                   for (const auto& loaded : backend_.models->List()) {
                     Fill(*loaded, response->add_models());
                   }
                   return absl::OkStatus();
                 });
  }

  ServerUnaryReactor* GetModelStats(CallbackServerContext* context,
                                    const v1::GetModelStatsRequest* request,
                                    v1::ModelStats* response) override {
    return Reply(
        edge_, "ModelService/GetModelStats", context, request, response,
        [=, this](const Call&) { return Describe(request->name(), response); });
  }

 private:
  template <typename Message>
  absl::Status Describe(const std::string& name, Message* out) const {
    ASSIGN_OR_RETURN(const std::string id, ParseName("name", kModels, name));
    ASSIGN_OR_RETURN(const auto loaded, backend_.models->Find(id));
    Fill(*loaded, out);
    return absl::OkStatus();
  }

  const Edge edge_;
  Backend& backend_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeModelService(const Edge& files,
                                                Backend* backend) {
  return std::make_unique<ModelService>(files, backend);
}

}  // namespace octet::rpc
