#include "client/lib/health.h"

#include <string>

#include "grpc/health/v1/health.grpc.pb.h"

namespace octet::client {

absl::StatusOr<Health> CheckHealth(Connection& connection,
                                   absl::string_view service) {
  using Response = grpc::health::v1::HealthCheckResponse;
  grpc::health::v1::HealthCheckRequest request;
  request.set_service(std::string(service));
  Response response;
  Call call(connection);
  const grpc::Status status =
      grpc::health::v1::Health::NewStub(connection.channel())
          ->Check(&call.context(), request, &response);
  if (!status.ok()) return FromGrpc(status);
  switch (response.status()) {
    case Response::SERVING:
      return Health::kServing;
    case Response::NOT_SERVING:
      return Health::kNotServing;
    default:
      return Health::kUnknown;
  }
}

}  // namespace octet::client
