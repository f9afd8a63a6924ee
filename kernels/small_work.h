// Work that is too small for a second thread, measured in multiply-adds.
//
// Waking a sleeping thread takes some 25 us (thread_pool.h). A call is shared
// out only where it brings two tasks of kMinTaskProducts or more: about as much
// time each. So a call of fewer than kMinSharedProducts runs on the thread that
// makes it, whatever it is:
//
//   linears     M N K
//   attention   2 width sum of length^2
//   norms       M N kProductsPerNormed
//
// The unit is coarse: two million multiply-adds take 10 us in INT8 on AVX-512,
// and 100 us in FP32 on AVX2. What is worth sharing there is worth it later
// here, but never sooner than it pays.

#ifndef OCTET_KERNELS_SMALL_WORK_H_
#define OCTET_KERNELS_SMALL_WORK_H_

#include <cstddef>

namespace octet::kernels {

inline constexpr size_t kMinTaskProducts = size_t{1} << 20;
inline constexpr size_t kMinSharedProducts = 2 * kMinTaskProducts;

// Of one element of a norm, which passes over its row three times, with a
// division and a root; with or without codes written beside it.
inline constexpr size_t kProductsPerNormed = 32;

constexpr bool WorthSharing(size_t products) {
  return products >= kMinSharedProducts;
}

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_SMALL_WORK_H_
