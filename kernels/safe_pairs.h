// Codes for a kernel that adds two products in 16 bits, as vpmaddubsw does,
// which saturates: exact all the same, for any codes and any weights.
//
//   x[k] = code[k] - zero_point                           in [-255, 255]
//   x[k] = a[k] + what `Excess` of k's group has of it
//   a    s8, with -128 <= a[2i] + a[2i + 1] <= 128
//
// The weights of such a kernel are u8, w + 128. Two of them at most 255 times a
// pair of a's stay within +-32640, whatever the signs; and the other 128 are
//
//   sum_k x[k] w[k] = sum_k x[k] (w[k] + 128) - 128 sum_k x[k]
//
// a number of the row, from which its sums start. Excess is multiplied like any
// group, but by the rows that have it. Pairs have it where both codes are large
// and of one sign: 3 % of them in 384 values of a normal distribution, 0.3 % in
// 4096; in MiniLM some 1 % behind a layer norm, 0.1 % behind a GELU.
// Three of four groups have it where every code is the largest, +-127.

#ifndef OCTET_KERNELS_SAFE_PAIRS_H_
#define OCTET_KERNELS_SAFE_PAIRS_H_

#include <cstddef>
#include <cstdint>

namespace octet::kernels {

// More of the four codes of a group. Zeros are none.
struct Excess {
  uint32_t group = 0;
  int32_t codes = 0;  // s8, by rising k from the lowest byte
};

// A group has excess up to three times: 255 = 64 + 64 + 64 + 63.
inline constexpr size_t kMostExcess = 3;

// Added to each weight.
inline constexpr int32_t kSafePairsWeightOffset = 128;

struct SplitRow {
  int32_t sum;    // of x
  size_t excess;  // that there is
};

// `k` codes to as many a, and the excess of their k / 4 groups by rising group.
// k is a multiple of kSplitStep.
inline constexpr size_t kSplitStep = 32;
using SplitRowFunction = SplitRow (*)(const uint8_t* codes, size_t k,
                                      int32_t zero_point, int8_t* a,
                                      Excess* excess);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_SAFE_PAIRS_H_
