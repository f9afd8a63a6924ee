// ModelService: what is served.

#include <algorithm>
#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "kernels/status_macros.h"
#include "octet/v1/model_service.grpc.pb.h"
#include "server/bundle/directory_store.h"
#include "server/model/graph.h"
#include "server/rpc/calls/reactors.h"
#include "server/rpc/messages.h"
#include "server/rpc/resources/backend.h"
#include "server/rpc/resources/dependencies.h"
#include "server/rpc/resources/resource_names.h"
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

v1::ModelState ToProto(serving::VersionInfo::State state) {
  switch (state) {
    case serving::VersionInfo::State::kLoading:
      return v1::MODEL_STATE_LOADING;
    case serving::VersionInfo::State::kReady:
      return v1::MODEL_STATE_READY;
    case serving::VersionInfo::State::kUnloading:
      return v1::MODEL_STATE_UNLOADING;
    case serving::VersionInfo::State::kFailed:
      return v1::MODEL_STATE_FAILED;
  }
  return v1::MODEL_STATE_UNSPECIFIED;
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
  out->set_shadow_rate(loaded.watch().shadow_rate);
  *out->mutable_load_time() = ToTimestamp(loaded.load_time());
}

void Fill(const serving::VersionInfo& version, v1::Model* out) {
  out->set_name(ResourceName(kModels, version.id));
  out->set_source(version.source);
  out->set_version(version.version);
  out->set_state(ToProto(version.state));
  out->set_state_reason(std::string(version.error.message()));
  out->set_traffic_share(version.traffic_share);
  if (version.model != nullptr) Fill(*version.model, out);
}

void Fill(const serving::ModelStats& stats, v1::ModelStats* out) {
  constexpr double kSecondsPerNanosecond = 1e-9;
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

// How long UnloadModel waits for the last request when its call has no
// deadline, and what it leaves of a deadline to send the answer.
constexpr absl::Duration kLongestUnload = absl::Seconds(30);
constexpr absl::Duration kToAnswer = absl::Milliseconds(100);

absl::Time UnloadDeadline(const Call& call) {
  return std::min(call.deadline - kToAnswer, absl::Now() + kLongestUnload);
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
          serving::LoadOptions options;
          options.version = request->version();
          options.shadow_rate = request->shadow_rate();
          if (request->has_traffic_share()) {
            options.traffic_share = request->traffic_share();
          }
          ASSIGN_OR_RETURN(const auto loaded,
                           rpc::LoadModel(backend_, request->model_id(),
                                          request->source(), options));
          FillServed(*loaded, response);
          return absl::OkStatus();
        });
  }

  ServerUnaryReactor* UnloadModel(CallbackServerContext* context,
                                  const v1::UnloadModelRequest* request,
                                  google::protobuf::Empty* response) override {
    return Reply(
        edge_, "ModelService/UnloadModel", context, request, response,
        [=, this](const Call& call) -> absl::Status {
          ASSIGN_OR_RETURN(const ModelName model,
                           ParseModelName("name", request->name()));
          RETURN_IF_ERROR(backend_.models->Unload(model.id, model.version));
          return backend_.models->AwaitUnloaded(
              model.id, model.version, UnloadDeadline(call), call.cancelled);
        });
  }

  ServerUnaryReactor* GetModel(CallbackServerContext* context,
                               const v1::GetModelRequest* request,
                               v1::Model* response) override {
    return Reply(edge_, "ModelService/GetModel", context, request, response,
                 [=, this](const Call&) -> absl::Status {
                   ASSIGN_OR_RETURN(const ModelName name,
                                    ParseModelName("name", request->name()));
                   ASSIGN_OR_RETURN(
                       const auto loaded,
                       backend_.models->FindPrimary(name.id, name.version));
                   FillServed(*loaded, response);
                   return absl::OkStatus();
                 });
  }

  ServerUnaryReactor* ListModels(CallbackServerContext* context,
                                 const v1::ListModelsRequest* request,
                                 v1::ListModelsResponse* response) override {
    return Reply(edge_, "ModelService/ListModels", context, request, response,
                 [=, this](const Call&) {
                   for (const auto& version : backend_.models->ListVersions()) {
                     Fill(version, response->add_models());
                   }
                   return absl::OkStatus();
                 });
  }

  ServerUnaryReactor* GetModelStats(CallbackServerContext* context,
                                    const v1::GetModelStatsRequest* request,
                                    v1::ModelStats* response) override {
    return Reply(
        edge_, "ModelService/GetModelStats", context, request, response,
        [=, this](const Call&) -> absl::Status {
          ASSIGN_OR_RETURN(const ModelName name,
                           ParseModelName("name", request->name()));
          RETURN_IF_ERROR(
              backend_.models->FindPrimary(name.id, name.version).status());
          response->set_name(request->name());
          Fill(StatsOf(name), response);
          return absl::OkStatus();
        });
  }

 private:
  // With its state and share, unless it was unloaded meanwhile.
  void FillServed(const serving::LoadedModel& loaded, v1::Model* out) const {
    Fill(loaded, out);
    for (const auto& version : backend_.models->ListVersions()) {
      if (version.model.get() == &loaded) Fill(version, out);
    }
  }

  serving::ModelStats StatsOf(const ModelName& name) const {
    serving::ModelStats sum;
    for (const auto& loaded : backend_.models->List()) {
      if (loaded->id() != name.id ||
          (name.version && loaded->version() != *name.version)) {
        continue;
      }
      sum += loaded->stats();
    }
    return sum;
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
