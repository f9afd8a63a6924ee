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

// The least of several runs: what interrupts one would count in every lap.
int64_t MeasureTicksPerReading() {
  constexpr int kRuns = 16;
  constexpr int64_t kReadings = 64;
  int64_t least = std::numeric_limits<int64_t>::max();
  for (int run = 0; run < kRuns; ++run) {
    const uint64_t start = ReadTicks();
    uint64_t now = start;
    for (int64_t i = 0; i < kReadings; ++i) now = ReadTicks();
    least = std::min(least, static_cast<int64_t>(now - start) / kReadings);
  }
  return least;
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
  const double ns_per_tick = loop_ns / all;
  times.dot_ns = static_cast<uint64_t>(dot * ns_per_tick);
  times.outlier_ns = static_cast<uint64_t>(outlier * ns_per_tick);
  times.dequantize_ns = static_cast<uint64_t>(dequantize * ns_per_tick);
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

void PhaseSampler::EndDotOfTiles() {
  if (!enabled_) return;
  const uint64_t ticks = ReadTicks() - dot_start_;
  dot_of_tiles_ += ticks;
  loop_start_ += ticks;
}

void PhaseSampler::EndSample(const Twins& twins, double parts) {
  shares_.Add(
      {.dot = static_cast<int64_t>(parts * static_cast<double>(twins.dot)),
       .outlier = twins.with_outliers - twins.dot,
       .dequantize = twins.whole - twins.with_outliers});
  // The clock's low bits keep the count from falling into step with a model.
  next_ += kTilesPerSample - kJitter / 2 + mark_ / kClockStep % kJitter;
  loop_start_ += ReadTicks() - sample_start_;
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
  times.dot_ns += nanoseconds(static_cast<int64_t>(dot_of_tiles_));
  return times;
}

}  // namespace octet::kernels
