#include "server/telemetry/build_info.h"

namespace octet::telemetry {

// The macros are set for this file alone, by CMakeLists.txt.
const BuildInfo& GetBuildInfo() {
  static constexpr BuildInfo kInfo = {OCTET_VERSION, OCTET_REVISION,
                                      OCTET_COMPILER};
  return kInfo;
}

}  // namespace octet::telemetry
