// OCTET_INSTRUCTION(expression, asm...): an instruction written inline where
// GCC 12 makes worse code of its intrinsic. A build that computes AVX-512 with
// less (OCTET_EMULATE_AVX512, tests/emulation) takes the expression in its
// place.

#ifndef OCTET_KERNELS_INSTRUCTION_H_
#define OCTET_KERNELS_INSTRUCTION_H_

#if defined(OCTET_EMULATE_AVX512)
#define OCTET_INSTRUCTION(expression, ...) static_cast<void>(expression)
#else
#define OCTET_INSTRUCTION(expression, ...) asm(__VA_ARGS__)
#endif

// Loads of v stay where they are written, not repeated at every use.
#define OCTET_LOADED_ONCE(v) OCTET_INSTRUCTION(v, "" : "+v"(v))

#endif  // OCTET_KERNELS_INSTRUCTION_H_
