# Language level, warnings and sanitizers for every target of the project.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

# Most of what compiling takes is reading the headers of Abseil, gRPC, CLI11 and
# GoogleTest: precompiled (precompiled_headers.cmake), or read by eight sources
# at once.
option(OCTET_PARSE_ONCE "Share the parsing of headers between sources" ON)

# Paths are hashed relative to the project, so that a build of the same sources
# elsewhere, as the container's, finds what this one has compiled. Sloppiness is
# what ccache wants before it looks at sources with precompiled headers.
find_program(OCTET_CCACHE ccache)
if(OCTET_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}
      CCACHE_NOHASHDIR=true CCACHE_SLOPPINESS=pch_defines,time_macros
      ${OCTET_CCACHE})
endif()

# a*b+c is rounded twice wherever a kernel does not ask for an FMA by name:
# results must not depend on what the compiler contracts.
add_compile_options(-ffp-contract=off)

if(OCTET_SANITIZE)
  add_compile_options(-fsanitize=${OCTET_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${OCTET_SANITIZE})
endif()
if(OCTET_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined
                      -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
endif()

# Warnings are errors, for our own sources only (not for generated code).
function(octet_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Werror
                                           -Wno-sign-compare)
  # GCC 12 sees overlaps in std::string that are not there (PR 105651).
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${target} PRIVATE -Wno-restrict)
    # Sanitizers' own code hides from it what has been set.
    if(OCTET_SANITIZE)
      target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized)
    endif()
  endif()
endfunction()

# Eight sources at once, for those that are small beside their headers. Names
# in their anonymous namespaces have to differ.
function(octet_compile_together target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${OCTET_PARSE_ONCE}
                                             UNITY_BUILD_BATCH_SIZE 8)
endfunction()

# octet_library(<name> SOURCES ... DEPS ... [PRIVATE_DEPS ...]
#               [HEADERS <target of precompiled_headers.cmake> | TOGETHER])
# A static library whose headers are included from the project's root.
function(octet_library name)
  cmake_parse_arguments(ARG "TOGETHER" "HEADERS" "SOURCES;DEPS;PRIVATE_DEPS"
                        ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
  if(ARG_TOGETHER)
    octet_compile_together(${name})
  elseif(ARG_HEADERS AND OCTET_PARSE_ONCE)
    target_precompile_headers(${name} REUSE_FROM ${ARG_HEADERS})
    # For ccache, which preprocesses.
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      target_compile_options(${name} PRIVATE -fpch-preprocess)
    endif()
  endif()
  octet_warnings(${name})
endfunction()

# octet_test(<name> SOURCES ... DEPS ... [LABELS ...]) registers one GoogleTest
# binary with CTest, each test case on its own line of the report.
function(octet_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gmock
                                        GTest::gtest_main)
  octet_compile_together(${name})
  # What is tested stays as it is; tests themselves need be neither fast nor
  # checked for undefined behaviour: either takes long to compile.
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  if(OCTET_SANITIZE MATCHES "undefined")
    target_compile_options(${name} PRIVATE -fno-sanitize=undefined)
  endif()
  octet_warnings(${name})
  # An empty value would be dropped on the way and shift those after it.
  set(properties TIMEOUT 300)
  if(ARG_LABELS)
    list(APPEND properties LABELS "${ARG_LABELS}")
  endif()
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60
                       PROPERTIES ${properties})
endfunction()
