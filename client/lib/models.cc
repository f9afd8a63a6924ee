#include "client/lib/models.h"

namespace octet::client {

using Stub = v1::ModelService::Stub;

absl::StatusOr<v1::Model> LoadModel(Connection& connection,
                                    absl::string_view id,
                                    absl::string_view source) {
  v1::LoadModelRequest request;
  request.set_model_id(std::string(id));
  request.set_source(std::string(source));
  return LoadModel(connection, request);
}

absl::StatusOr<v1::Model> LoadModel(Connection& connection,
                                    const v1::LoadModelRequest& request) {
  return Unary(connection, connection.models(), &Stub::LoadModel, request);
}

absl::Status UnloadModel(Connection& connection, absl::string_view id) {
  v1::UnloadModelRequest request;
  request.set_name(ResourceName("models", id));
  return Unary(connection, connection.models(), &Stub::UnloadModel, request)
      .status();
}

absl::StatusOr<v1::Model> GetModel(Connection& connection,
                                   absl::string_view id) {
  v1::GetModelRequest request;
  request.set_name(ResourceName("models", id));
  return Unary(connection, connection.models(), &Stub::GetModel, request);
}

absl::StatusOr<v1::ListModelsResponse> ListModels(Connection& connection) {
  return Unary(connection, connection.models(), &Stub::ListModels,
               v1::ListModelsRequest());
}

absl::StatusOr<v1::ModelStats> GetModelStats(Connection& connection,
                                             absl::string_view id) {
  v1::GetModelStatsRequest request;
  request.set_name(ResourceName("models", id));
  return Unary(connection, connection.models(), &Stub::GetModelStats, request);
}

}  // namespace octet::client
