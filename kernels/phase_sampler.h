// Splits the time of a layer's tile loops into phases from a sample of tiles.
//
//   loop       timed whole, in every call
//   sample     about one tile in kTilesPerSample of a thread, whatever calls
//              they belong to; and one of a layer's first call
//   phase      loop * (ticks of the phase / ticks of all) over the samples of
//              the layer, of which recent ones count more
//
// An epilogue cannot be timed by itself: the kernel may finish a tile from its
// registers, and where it does not, the CPU begins with the epilogue while the
// product is under way. What it costs is what twins of the tile take longer
// with it than without; and outliers likewise. Runs of kTwins, each after one
// that is not timed: the first of a kind has cold operands and mispredicted
// branches, which on Zen 5 would count as 5 % of a tile of K = 384. A sample
// computes its tile ten times, or fifteen: 0.25 to 0.4 % of the work.

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
// What reading them takes, which every lap between two readings contains.
int64_t TicksPerReading();

// What the samples of one layer say; threads may add at the same time.
class PhaseShares {
 public:
  struct Ticks {
    int64_t dot = 0;
    // Differences, which noise may push below 0.
    int64_t outlier = 0;
    int64_t dequantize = 0;
  };

  void Add(const Ticks& sample);
  uint64_t samples() const { return samples_.load(std::memory_order_relaxed); }
  bool empty() const { return samples() == 0; }
  // `loop_ns` divided in the proportion of the samples.
  PhaseTimes Divide(double loop_ns) const;

 private:
  // Times the average that hardly a tile takes unless its thread is
  // interrupted. Those that do are not the ones to learn from.
  static constexpr int64_t kInterrupted = 3;
  // Samples after which all are halved.
  static constexpr uint64_t kMemory = 1024;

  std::atomic<uint64_t> samples_ = 0;
  std::atomic<int64_t> dot_ = 0;
  std::atomic<int64_t> outlier_ = 0;
  std::atomic<int64_t> dequantize_ = 0;
};

// One call's tile loop on one thread.
class PhaseSampler {
 public:
  // What one takes, in ticks.
  struct Twins {
    int64_t dot;  // of a part of K
    int64_t with_outliers;
    int64_t whole;  // with the epilogue too
  };

  // `tiles` in the loop; nothing is timed when not `enabled`.
  PhaseSampler(bool enabled, size_t tiles, PhaseShares& shares);

  void BeginQuantize() { mark_ = enabled_ ? ReadTicks() : 0; }
  void EndQuantizeBeginLoop();
  // A product of many tiles at once, where there is such a thing: no time of
  // the loop around it.
  void BeginDotOfTiles() { dot_start_ = enabled_ ? ReadTicks() : 0; }
  void EndDotOfTiles();
  bool Wants(size_t tile) const { return tile == next_; }
  // By turns: where another thread uses the core, the first twins of a sample
  // are the slowest, by up to a third on Zen 3.
  bool WantsDotFirst() const { return shares_.samples() % 2 == 0; }
  void BeginSample() { sample_start_ = ReadTicks(); }
  template <typename Work>
  int64_t TicksOf(const Work& one_twin) {
    one_twin();
    mark_ = ReadTicks();
    for (int i = 0; i < kTwins; ++i) one_twin();
    return Lap() / kTwins;
  }
  // `parts` of K make the whole. What a sample took is no time of the loop.
  void EndSample(const Twins& twins, double parts);
  PhaseTimes EndLoop();

 private:
  static constexpr int kTwins = 4;
  static constexpr size_t kTilesPerSample = 4096;

  int64_t Lap() {
    const uint64_t before = mark_;
    mark_ = ReadTicks();
    return static_cast<int64_t>(mark_ - before) - per_reading_;
  }

  PhaseShares& shares_;
  bool enabled_;
  size_t tiles_;
  size_t next_;  // tile to sample
  int64_t per_reading_ = 0;
  uint64_t mark_ = 0;
  uint64_t loop_start_ = 0;
  uint64_t sample_start_ = 0;
  int64_t quantize_ = 0;
  uint64_t dot_start_ = 0;
  uint64_t dot_of_tiles_ = 0;
};

}  // namespace octet::kernels

#endif  // OCTET_KERNELS_PHASE_SAMPLER_H_
