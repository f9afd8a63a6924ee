# Fails when the compiler keeps vectors of a dot-product kernel on the stack, as
# GCC 12 does where a loop over accumulators is not unrolled, or where it moves
# loads up until registers run out.
#   cmake -DOBJDUMP=... -DOBJECT=dot_u8s8_avx2.cc.o -DINSTRUCTION=vpmaddwd \
#         -P no_spills_test.cmake
execute_process(COMMAND ${OBJDUMP} -d --no-show-raw-insn ${OBJECT}
                OUTPUT_VARIABLE assembly COMMAND_ERROR_IS_FATAL ANY)
if(NOT assembly MATCHES "${INSTRUCTION}")
  message(FATAL_ERROR "${OBJECT} has no ${INSTRUCTION}")
endif()
# Lists of CMake do not bear brackets, in which Arm has its addresses.
string(REPLACE "[" "(" assembly "${assembly}")
string(REPLACE "]" ")" assembly "${assembly}")
# 0x40(%rsp), (%rsp,%rax,1): memory at or around the stack or frame pointer.
# XMM registers carry no accumulators, but copies of small structs; D registers
# (half of a Q) are saved for the caller.
set(stack "\\([^\n)]*%r[sb]p")
set(x86 "[^\n]*%[yz]mm[^\n]*${stack}[^\n]*|[^\n]*${stack}[^\n]*%[yz]mm[^\n]*")
set(arm "[^\n]*q[0-9]+, *\\((sp|x29)[^\n]*")
string(REGEX MATCHALL "${x86}|${arm}" spills "${assembly}")
if(spills)
  list(JOIN spills "\n" lines)
  message(FATAL_ERROR "vector registers on the stack:\n${lines}")
endif()
