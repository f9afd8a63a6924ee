// Splits the time of a tile loop into its phases from a sample of its tiles.
//
// The whole loop is timed exactly; about one tile in 64, at least one per
// loop, is timed phase by phase, and the loop's time is divided in the
// proportion of the samples. Reading the clock costs about 10 ns.

#ifndef OCTET_KERNELS_PHASE_SAMPLER_H_
#define OCTET_KERNELS_PHASE_SAMPLER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "kernels/phase_clock.h"

namespace octet::kernels {

// Ticks of the constant-rate counter of the CPU, and their length.
uint64_t ReadTicks();
double NanosecondsPerTick();

class PhaseSampler {
 public:
  // `tiles` in the loop; nothing is timed when not `enabled`.
  PhaseSampler(bool enabled, size_t tiles);

  void BeginQuantize() { mark_ = enabled_ ? ReadTicks() : 0; }
  void EndQuantizeBeginLoop();
  void DotOfAllTilesDone();  // before the loop, where there is such a thing
  bool Wants(size_t tile) const {
    return enabled_ && tile % kTilesPerSample == first_;
  }
  void TileStarts() { mark_ = ReadTicks(); }
  void DotDone() { Add(dot_); }
  void OutliersDone() { Add(outlier_); }
  void TileDone() { Add(dequantize_); }
  PhaseTimes EndLoop() const;

 private:
  static constexpr size_t kTilesPerSample = 64;

  void Add(uint64_t& phase) {
    const uint64_t now = ReadTicks();
    phase += now - mark_;
    mark_ = now;
  }

  bool enabled_;
  size_t first_;  // which tile of each kTilesPerSample
  uint64_t mark_ = 0;
  uint64_t loop_start_ = 0;
  uint64_t quantize_ = 0;
  uint64_t dot_of_all_ = 0;
  uint64_t dot_ = 0;
  uint64_t outlier_ = 0;
  uint64_t dequantize_ = 0;
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_PHASE_SAMPLER_H_
