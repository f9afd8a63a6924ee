// What this binary was built from.

#ifndef OCTET_SERVER_TELEMETRY_BUILD_INFO_H_
#define OCTET_SERVER_TELEMETRY_BUILD_INFO_H_

#include <string_view>

namespace octet::telemetry {

struct BuildInfo {
  std::string_view version;   // of the project: "0.1.0"
  std::string_view revision;  // of the source, at configure time; "unknown"
  std::string_view compiler;  // "GNU 12.2.0"
};

const BuildInfo& GetBuildInfo();

}  // namespace octet::telemetry

#endif  // OCTET_SERVER_TELEMETRY_BUILD_INFO_H_
