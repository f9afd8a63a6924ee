#include "client/lib/health.h"

#include <string>

#include "absl/synchronization/notification.h"
#include "google/protobuf/wrappers.pb.h"
#include "grpcpp/generic/generic_stub.h"

namespace octet::client {

absl::StatusOr<Health> CheckHealth(Connection& connection,
                                   absl::string_view service) {
  // HealthCheckRequest is one string with number 1, HealthCheckResponse one
  // enum with number 1: on the wire these are the well-known wrappers, and no
  // further proto has to be generated.
  using Stub = grpc::TemplatedGenericStub<google::protobuf::StringValue,
                                          google::protobuf::Int32Value>;
  Stub stub(connection.channel());
  google::protobuf::StringValue request;
  google::protobuf::Int32Value response;
  request.set_value(std::string(service));
  Call call(connection);
  grpc::Status status;
  absl::Notification done;
  stub.UnaryCall(&call.context(), "/grpc.health.v1.Health/Check",
                 grpc::StubOptions(), &request, &response,
                 [&](grpc::Status result) {
                   status = std::move(result);
                   done.Notify();
                 });
  done.WaitForNotification();
  if (!status.ok()) return FromGrpc(status);
  switch (response.value()) {
    case 1:
      return Health::kServing;
    case 2:
      return Health::kNotServing;
    default:
      return Health::kUnknown;
  }
}

}  // namespace octet::client
