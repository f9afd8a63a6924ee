# Fails when the compiler keeps vector accumulators of the AVX512-VNNI kernel on
# the stack (GCC 12 does where a loop over them is not unrolled).
#   cmake -DOBJDUMP=... -DOBJECT=dot_u8s8_avx512vnni.cc.o -P no_spills_test.cmake
execute_process(COMMAND ${OBJDUMP} -d --no-show-raw-insn ${OBJECT}
                OUTPUT_VARIABLE assembly COMMAND_ERROR_IS_FATAL ANY)
if(NOT assembly MATCHES "vpdpbusd")
  message(FATAL_ERROR "${OBJECT} has no vpdpbusd")
endif()
string(REGEX MATCHALL "[^\n]*zmm[^\n]*%r[sb]p\\)[^\n]*|[^\n]*%r[sb]p\\)[^\n]*zmm[^\n]*"
       spills "${assembly}")
if(spills)
  list(JOIN spills "\n" lines)
  message(FATAL_ERROR "ZMM registers on the stack:\n${lines}")
endif()
