// Counts what the whole process allocates: linking allocation_counter.cc puts
// it in front of the C library's malloc and its kin, through which operator
// new, every library and every thread go. glibc only; not under sanitizers,
// which stand there themselves.

#ifndef OCTET_TESTS_KERNELS_ALLOCATION_COUNTER_H_
#define OCTET_TESTS_KERNELS_ALLOCATION_COUNTER_H_

#include <cstddef>

namespace octet::kernels {

// Calls to malloc, calloc, realloc, aligned_alloc, memalign and posix_memalign
// since the process began.
size_t Allocations();

}  // namespace octet::kernels

#endif  // OCTET_TESTS_KERNELS_ALLOCATION_COUNTER_H_
