// grpc.health.v1: does the server, or one of its services, take requests?

#ifndef OCTET_CLIENT_LIB_HEALTH_H_
#define OCTET_CLIENT_LIB_HEALTH_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/lib/connection.h"

namespace octet::client {

enum class Health { kUnknown, kServing, kNotServing };

// `service` is a full name such as "octet.v1.InferenceService"; empty asks for
// the whole server. NOT_FOUND when it does not know the service.
absl::StatusOr<Health> CheckHealth(Connection& connection,
                                   absl::string_view service);

}  // namespace octet::client

#endif  // OCTET_CLIENT_LIB_HEALTH_H_
