#include "kernels/phase_sampler.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "kernels/phase_clock.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace octet::kernels {
namespace {

using SteadyClock = std::chrono::steady_clock;

double MeasureNanosecondsPerTick() {
  const auto start = SteadyClock::now();
  const uint64_t start_ticks = ReadTicks();
  const auto end = start + std::chrono::milliseconds(2);
  while (SteadyClock::now() < end) {
  }
  const uint64_t ticks = ReadTicks() - start_ticks;
  const std::chrono::duration<double, std::nano> elapsed =
      SteadyClock::now() - start;
  return elapsed.count() / static_cast<double>(std::max<uint64_t>(ticks, 1));
}

}  // namespace

uint64_t ReadTicks() {
#if defined(__x86_64__)
  return __rdtsc();
#elif defined(__aarch64__)
  uint64_t ticks = 0;
  asm volatile("mrs %0, cntvct_el0" : "=r"(ticks));
  return ticks;
#else
  return static_cast<uint64_t>(SteadyClock::now().time_since_epoch().count());
#endif
}

double NanosecondsPerTick() {
  static const double value = MeasureNanosecondsPerTick();
  return value;
}

PhaseSampler::PhaseSampler(bool enabled, size_t tiles)
    : enabled_(enabled),
      // Not the first tile: it finds the caches cold.
      first_(std::min(tiles, kTilesPerSample) / 2) {}

void PhaseSampler::EndQuantizeBeginLoop() {
  if (!enabled_) return;
  Add(quantize_);
  loop_start_ = mark_;
}

void PhaseSampler::DotOfAllTilesDone() {
  if (!enabled_) return;
  Add(dot_of_all_);
  loop_start_ = mark_;
}

PhaseTimes PhaseSampler::EndLoop() const {
  const uint64_t sampled = dot_ + outlier_ + dequantize_;
  const double unit = NanosecondsPerTick();
  PhaseTimes times;
  times.quantize_ns = static_cast<uint64_t>(quantize_ * unit);
  times.dot_ns = static_cast<uint64_t>(dot_of_all_ * unit);
  if (sampled == 0) return times;
  const double scale =
      unit * static_cast<double>(ReadTicks() - loop_start_) / sampled;
  times.dot_ns += static_cast<uint64_t>(dot_ * scale);
  times.outlier_ns = static_cast<uint64_t>(outlier_ * scale);
  times.dequantize_ns = static_cast<uint64_t>(dequantize_ * scale);
  return times;
}

}  // namespace octet::kernels
