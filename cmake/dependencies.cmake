# Everything comes from Debian 12. What each is for:
#   Abseil           Status, spans, strings, containers
#   nlohmann-json    config.json and octet.json (accept-only, no exceptions out)
#   oneDNN           float GEMM
#   OpenSSL          SHA-256 of bundle files
#   libarchive       the tar form of a bundle on the wire
#   ISA-L            CRC32C of upload chunks (hardware instruction at run time)
#   gRPC, protobuf   the service
#   prometheus-cpp   /metrics
#   CLI11, spdlog    flags with environment variables, logs
#   GoogleTest, Google Benchmark
find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(dnnl REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(LibArchive REQUIRED)
find_path(ISAL_INCLUDE_DIR isa-l/crc.h REQUIRED)
find_library(ISAL_LIBRARY isal REQUIRED)
if(NOT OCTET_FUZZ)
  find_package(Protobuf REQUIRED)
  find_package(gRPC REQUIRED)
  find_package(prometheus-cpp REQUIRED)
  find_package(CLI11 REQUIRED)
  find_package(spdlog REQUIRED)
  if(OCTET_BUILD_TESTS)
    find_package(GTest REQUIRED)
    include(GoogleTest)
  endif()
  if(OCTET_BUILD_BENCHMARKS)
    find_package(benchmark REQUIRED)
  endif()
endif()
