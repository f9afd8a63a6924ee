#include "kernels/weight_feed.h"

#include <cstdint>

namespace octet::kernels {

// Zen 4: its prefetchers beat requests 4 KiB ahead by 10 %, for 1 to 6 rows. 7
// and 8 rows read memory 1.8 to 2 times as fast by requests into L2, 9 to 12
// rows 1.1 to 1.25 times; more rows multiply long enough for L1, and are 5 to
// 15 % slower by L2. Slices of 64 KiB are 2 to 3 % faster than those that L1
// holds: six rows meet 256 bytes of weights in 24 cycles, which L2 keeps up
// with.
//
// Zen 5: weights beyond L2 are read 12 to 45 % faster by requests 8 KiB ahead,
// for 1 to 8 rows.
WeightFeed WeightFeedOfAmd(uint32_t family) {
  constexpr uint32_t kZen4 = 25;
  WeightFeed feed;
  feed.ahead = family > kZen4 ? 8192 : 0;
  if (family == kZen4) {
    feed.slice_bytes = 64 << 10;
    feed.into_l2 = true;
  }
  return feed;
}

uint32_t CpuFamily(uint32_t signature) {
  constexpr uint32_t kExtended = 15;
  const uint32_t base = signature >> 8 & 0xf;
  return base == kExtended ? base + (signature >> 20 & 0xff) : base;
}

}  // namespace octet::kernels
