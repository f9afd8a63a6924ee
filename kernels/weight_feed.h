// How weights reach the multipliers of a core best: what is asked for ahead of
// its use, and where to. It makes no difference to any result. Measured, by
// family of CPUs; others get what was the best where nothing was known.

#ifndef OCTET_KERNELS_WEIGHT_FEED_H_
#define OCTET_KERNELS_WEIGHT_FEED_H_

#include <cstdint>

namespace octet::kernels {

struct WeightFeed {
  // Bytes ahead at which one stream through memory is asked for: what memory
  // delivers in the some hundred nanoseconds that it takes. 0 where the
  // hardware keeps up by itself and requests of our own would only get in its
  // way.
  uint32_t ahead = 4096;
  // Of a slice of K, which all tiles of a block of rows read before the next.
  uint32_t slice_bytes = 32 << 10;
  // Up to two tiles that share slices ask for weights into L2 (and one into L1
  // too, where they come from memory): L1 waits for too few lines at a time to
  // keep up with memory.
  bool into_l2 = false;
};

// AMD's families: 23 is Zen 1 and 2, 25 Zen 3 and 4, 26 Zen 5.
WeightFeed WeightFeedOfAmd(uint32_t family);

// The family that EAX of CPUID's leaf 1 tells.
uint32_t CpuFamily(uint32_t signature);

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_WEIGHT_FEED_H_
