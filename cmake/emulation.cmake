# AVX-512 and AVX-VNNI computed with AVX2, so that a CPU without them runs the
# tests of their kernels (`tests/run.sh emulated`). All is what the CPU would be
# given but the instructions that are written inline (kernels/instruction.h).
option(OCTET_EMULATE_AVX512 "Compute AVX-512 with AVX2; for tests alone" OFF)

# octet_emulate_avx512(VARIABLE): that holds the flags of a source. With -O1:
# unrolled loops of what stands for one instruction take GCC minutes at -O3.
function(octet_emulate_avx512 variable)
  if(NOT OCTET_EMULATE_AVX512 OR NOT "${${variable}}" MATCHES "avx512|avxvnni")
    return()
  endif()
  set(${variable} -mavx2 -mfma -mf16c -O1 -Wno-psabi
      -I${PROJECT_SOURCE_DIR}/tests/emulation PARENT_SCOPE)
endfunction()

if(OCTET_EMULATE_AVX512)
  add_compile_definitions(OCTET_EMULATE_AVX512)
endif()
