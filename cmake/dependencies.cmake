# Everything comes from Debian 12. What each is for:
#   Abseil           Status, spans, strings, containers
#   nlohmann-json    config.json and octet.json (accept-only, no exceptions out)
#   oneDNN           float GEMM, and an INT8 one to choose
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
set(OCTET_ONEDNN_ROOT "" CACHE PATH
    "Another oneDNN than Debian's, 2.x or 3.x: a folder with include/ and lib/")
if(OCTET_ONEDNN_ROOT)
  find_library(OCTET_ONEDNN_LIBRARY dnnl REQUIRED NO_DEFAULT_PATH
               PATHS ${OCTET_ONEDNN_ROOT}/lib)
  add_library(DNNL::dnnl SHARED IMPORTED)
  # DT_RPATH, unlike DT_RUNPATH, also finds there what oneDNN itself needs.
  set_target_properties(DNNL::dnnl PROPERTIES
    IMPORTED_LOCATION ${OCTET_ONEDNN_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${OCTET_ONEDNN_ROOT}/include
    INTERFACE_LINK_OPTIONS
      "LINKER:--disable-new-dtags;LINKER:--allow-shlib-undefined")
else()
  find_package(dnnl REQUIRED)
endif()
find_package(OpenSSL REQUIRED)
find_package(LibArchive REQUIRED)
find_path(ISAL_INCLUDE_DIR isa-l/crc.h REQUIRED)
find_library(ISAL_LIBRARY isal REQUIRED)
find_package(Protobuf REQUIRED)
find_package(gRPC REQUIRED)
if(NOT OCTET_FUZZ)
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
