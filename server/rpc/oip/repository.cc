#include "server/rpc/oip/repository.h"

#include <set>
#include <string>
#include <string_view>

#include "google/protobuf/util/json_util.h"
#include "inference/model_config.pb.h"
#include "kernels/status_macros.h"
#include "server/bundle/directory_store.h"
#include "server/bundle/io.h"
#include "server/model/graph.h"
#include "server/model/str_cat.h"
#include "server/rpc/calls/status.h"
#include "server/rpc/oip/model.h"
#include "server/rpc/resources/dependencies.h"
#include "server/rpc/resources/resource_names.h"
#include "server/serving/model_registry.h"

namespace octet::rpc::oip {
namespace {

using model::StrCat;

absl::Status CheckRepository(std::string_view name) {
  if (name.empty()) return absl::OkStatus();
  return FieldViolation(
      "repository_name",
      StrCat(bundle::Quoted(name),
             " does not exist; there is one, without a name"));
}

std::string_view StateName(serving::VersionInfo::State state) {
  using State = serving::VersionInfo::State;
  switch (state) {
    case State::kLoading:
      return "LOADING";
    case State::kReady:
      return "READY";
    case State::kUnloading:
      return "UNLOADING";
    case State::kFailed:
      return "UNAVAILABLE";
  }
  return "";
}

void AddVersion(const serving::VersionInfo& info, const std::string& name,
                inference::RepositoryIndexResponse* response) {
  auto* entry = response->add_models();
  entry->set_name(name);
  if (info.version > 0) entry->set_version(std::to_string(info.version));
  entry->set_state(std::string(StateName(info.state)));
  if (!info.error.ok()) entry->set_reason(std::string(info.error.message()));
}

// "bundles/x" in {"parameters": {"source": {"string_value": "bundles/x"}}}
absl::StatusOr<std::string> SourceInConfig(const std::string& json) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  inference::ModelConfig config;
  const auto parsed =
      google::protobuf::util::JsonStringToMessage(json, &config, options);
  if (!parsed.ok()) {
    return FieldViolation("parameters.config",
                          "is not a model configuration in JSON");
  }
  const auto found = config.parameters().find("source");
  return found == config.parameters().end() ? "" : found->second.string_value();
}

// What the request itself says; "" when it says nothing.
absl::StatusOr<std::string> AskedSource(
    const inference::RepositoryModelLoadRequest& request) {
  for (const auto& [key, value] : request.parameters()) {
    if (key.starts_with("file:")) {
      return absl::UnimplementedError(
          "models come as checkpoints and bundles of octet.v1; files in the "
          "request are not taken");
    }
  }
  const auto source = request.parameters().find("source");
  if (source != request.parameters().end()) {
    return source->second.string_param();
  }
  const auto config = request.parameters().find("config");
  if (config == request.parameters().end()) return "";
  return SourceInConfig(config->second.string_param());
}

absl::StatusOr<std::string> SourceOf(
    const Backend& backend,
    const inference::RepositoryModelLoadRequest& request) {
  ASSIGN_OR_RETURN(std::string asked, AskedSource(request));
  if (!asked.empty()) return asked;
  const std::string& name = request.model_name();
  const auto served = backend.models->FindPrimary(name);
  if (served.ok()) return (*served)->source();
  if (backend.bundles.Find(name).ok()) return ResourceName(kBundles, name);
  if (backend.checkpoints.Find(name).ok()) {
    return ResourceName(kCheckpoints, name);
  }
  return absl::NotFoundError(
      StrCat("model '", name,
             "' is not loaded, and there is no bundle or checkpoint of that "
             "name"));
}

}  // namespace

absl::Status ListRepository(const Backend& backend,
                            const inference::RepositoryIndexRequest& request,
                            inference::RepositoryIndexResponse* response) {
  RETURN_IF_ERROR(CheckRepository(request.repository_name()));
  std::set<std::string> known;
  for (const serving::VersionInfo& info : backend.models->ListVersions()) {
    known.insert(info.id);
    const bool ready = info.state == serving::VersionInfo::State::kReady;
    if (request.ready() && !ready) continue;
    AddVersion(info, info.id, response);
    if (info.model == nullptr) continue;
    const model::Graph& graph = info.model->model().graph();
    if (graph.input != model::InputKind::kNone) continue;
    for (const model::Linear* linear : graph.Linears()) {
      AddVersion(info, StrCat(info.id, ".", linear->layer), response);
    }
  }
  if (request.ready()) return absl::OkStatus();
  for (const auto* store : {&backend.bundles, &backend.checkpoints}) {
    for (const std::string& id : store->List()) {
      if (!known.insert(id).second) continue;
      auto* entry = response->add_models();
      entry->set_name(id);
      entry->set_state("UNAVAILABLE");
      entry->set_reason("not loaded");
    }
  }
  return absl::OkStatus();
}

absl::Status LoadFromRepository(
    Backend& backend, const inference::RepositoryModelLoadRequest& request) {
  RETURN_IF_ERROR(CheckRepository(request.repository_name()));
  RETURN_IF_ERROR(bundle::ValidateId("model_name", request.model_name()));
  ASSIGN_OR_RETURN(const std::string source, SourceOf(backend, request));
  return LoadModel(backend, request.model_name(), source).status();
}

absl::Status UnloadFromRepository(
    Backend& backend, const inference::RepositoryModelUnloadRequest& request) {
  RETURN_IF_ERROR(CheckRepository(request.repository_name()));
  RETURN_IF_ERROR(bundle::ValidateId("model_name", request.model_name()));
  return backend.models->Unload(request.model_name());
}

}  // namespace octet::rpc::oip
