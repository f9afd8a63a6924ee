#include "kernels/phase_sampler.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>

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

int64_t MeasureTicksPerReading() {
  constexpr int64_t kReadings = 1000;
  const uint64_t start = ReadTicks();
  uint64_t now = start;
  for (int64_t i = 0; i < kReadings; ++i) now = ReadTicks();
  return static_cast<int64_t>(now - start) / kReadings;
}

constexpr size_t kJitter = 64;
constexpr size_t kClockStep = 32;  // some CPUs count in steps

// Of this thread's timed calls, whatever their layers.
thread_local size_t tiles_until_sample = 0;

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

int64_t TicksPerReading() {
  static const int64_t value = MeasureTicksPerReading();
  return value;
}

// Two threads here at once may lose or forget a sample, which is harmless.
void PhaseShares::Add(const Ticks& sample) {
  constexpr auto kRelaxed = std::memory_order_relaxed;
  const auto scale_all = [&](int64_t divisor) {
    for (std::atomic<int64_t>* ticks : {&dot_, &outlier_, &dequantize_}) {
      ticks->store(ticks->load(kRelaxed) / divisor, kRelaxed);
    }
  };
  const auto samples = static_cast<int64_t>(samples_.load(kRelaxed));
  const int64_t all = dot_.load(kRelaxed) + outlier_.load(kRelaxed) +
                      dequantize_.load(kRelaxed);
  const int64_t ticks = sample.dot + sample.outlier + sample.dequantize;
  if (samples > 0 && ticks * samples > kInterrupted * all) return;
  if (ticks * samples * kInterrupted < all) {
    samples_.store(0, kRelaxed);  // what came before was interrupted
    scale_all(std::numeric_limits<int64_t>::max());
  }
  dot_.fetch_add(sample.dot, kRelaxed);
  outlier_.fetch_add(sample.outlier, kRelaxed);
  dequantize_.fetch_add(sample.dequantize, kRelaxed);
  if (samples_.fetch_add(1, kRelaxed) + 1 < kMemory) return;
  samples_.store(kMemory / 2, kRelaxed);
  scale_all(2);
}

PhaseTimes PhaseShares::Divide(double loop_ns) const {
  const auto ticks = [](const std::atomic<int64_t>& phase) {
    const int64_t value = phase.load(std::memory_order_relaxed);
    return static_cast<double>(std::max<int64_t>(value, 0));
  };
  const double dot = ticks(dot_);
  const double outlier = ticks(outlier_);
  const double dequantize = ticks(dequantize_);
  const double all = dot + outlier + dequantize;
  PhaseTimes times;
  if (all == 0) return times;
  times.dot_ns = static_cast<uint64_t>(loop_ns * (dot / all));
  times.outlier_ns = static_cast<uint64_t>(loop_ns * (outlier / all));
  times.dequantize_ns = static_cast<uint64_t>(loop_ns * (dequantize / all));
  return times;
}

PhaseSampler::PhaseSampler(bool enabled, size_t tiles, PhaseShares& shares)
    : shares_(shares), enabled_(enabled), tiles_(tiles), next_(tiles) {
  if (!enabled) return;
  per_reading_ = TicksPerReading();
  // Not the first tile of a layer's first call: it finds the caches cold.
  next_ = shares.empty() ? tiles / 2 : tiles_until_sample;
}

void PhaseSampler::EndQuantizeBeginLoop() {
  if (!enabled_) return;
  quantize_ = Lap();
  loop_start_ = mark_;
}

void PhaseSampler::DotOfAllTilesDone() {
  if (!enabled_) return;
  dot_of_all_ = Lap();
  loop_start_ = mark_;
}

void PhaseSampler::EpilogueDone() {
  sample_.dequantize += Lap();
  EndSample(kTilesPerSample);
}

void PhaseSampler::TwinsDone() {
  const int64_t dot = Lap() / kTwins;
  sample_.dot += dot;
  sample_.dequantize -= dot;
}

void PhaseSampler::ScaledTwinsDone() {
  sample_.dequantize += Lap() / kTwins;
  EndSample(kTilesPerSampleOfTwins);
}

void PhaseSampler::EndSample(size_t tiles_per_sample) {
  shares_.Add(sample_);
  sample_ = {};
  // The clock's low bits keep the count from falling into step with a model.
  next_ += tiles_per_sample - kJitter / 2 + mark_ / kClockStep % kJitter;
}

PhaseTimes PhaseSampler::EndLoop() {
  if (!enabled_) return {};
  tiles_until_sample = next_ - tiles_;
  const double unit = NanosecondsPerTick();
  PhaseTimes times =
      shares_.Divide(unit * static_cast<double>(ReadTicks() - loop_start_));
  const auto nanoseconds = [&](int64_t ticks) {
    return static_cast<uint64_t>(
        unit * static_cast<double>(std::max<int64_t>(ticks, 0)));
  };
  times.quantize_ns = nanoseconds(quantize_);
  times.dot_ns += nanoseconds(dot_of_all_);
  return times;
}

}  // namespace octet::kernels
