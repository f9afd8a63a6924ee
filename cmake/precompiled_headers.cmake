# Headers that most sources of the server read and that are not theirs, parsed
# once for all of them. Sources include what they use all the same: the dev
# preset, which is also what clang-tidy looks at, builds without.
#
#   octet_abseil_headers   for what knows nothing of gRPC
#   octet_grpc_headers     for the edge and the client: also gRPC's and ours
#
# octet_library(... HEADERS <one of them>) takes one. Two, because -pthread,
# which gRPC asks for, must be the same where headers are parsed and where used.
set(OCTET_ABSEIL_HEADERS
    <algorithm> <filesystem> <fstream> <functional> <map> <memory> <mutex>
    <optional> <set> <string> <vector>
    <absl/status/statusor.h> <absl/strings/str_cat.h>
    <absl/strings/str_format.h> <absl/synchronization/mutex.h>
    <absl/types/span.h>)
set(OCTET_GRPC_HEADERS
    ${OCTET_ABSEIL_HEADERS}
    <grpcpp/grpcpp.h>
    <octet/v1/bundle_service.grpc.pb.h> <octet/v1/calibration_service.grpc.pb.h>
    <octet/v1/checkpoint_service.grpc.pb.h>
    <octet/v1/inference_service.grpc.pb.h> <octet/v1/model_service.grpc.pb.h>
    <octet/v1/quantization_service.grpc.pb.h>)

# octet_precompiled_headers(<name> HEADERS ... DEPS ...)
function(octet_precompiled_headers name)
  cmake_parse_arguments(ARG "" "" "HEADERS;DEPS" ${ARGN})
  if(OCTET_PARSE_ONCE)
    set(source ${CMAKE_CURRENT_BINARY_DIR}/${name}.cc)
    file(CONFIGURE OUTPUT ${source} CONTENT "")
    add_library(${name} OBJECT EXCLUDE_FROM_ALL ${source})
    target_link_libraries(${name} PRIVATE ${ARG_DEPS})
    target_precompile_headers(${name} PRIVATE ${ARG_HEADERS})
  endif()
endfunction()

octet_precompiled_headers(octet_abseil_headers
  HEADERS ${OCTET_ABSEIL_HEADERS}
  DEPS absl::span absl::statusor absl::str_format absl::synchronization)
octet_precompiled_headers(octet_grpc_headers
  HEADERS ${OCTET_GRPC_HEADERS}
  DEPS octet_proto absl::span absl::statusor absl::str_format
       absl::synchronization)
