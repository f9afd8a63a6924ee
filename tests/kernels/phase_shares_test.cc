// What a linear says of its phases is what they cost: when a phase's work is
// left out, calls get cheaper by what the phase gets shorter, within 15 %.
//
// Each phase is looked at where it is a large part of a call, for 15 % of a
// small part are lost in the noise of a shared machine. Calls with and without
// the phase take turns, back and forth, so that whatever slows the machine
// meets both; what they cost is the CPU time of the thread, and the difference
// is the median over the pairs.

#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/activation.h"
#include "kernels/cpu_features.h"
#include "kernels/int8_linear.h"
#include "kernels/phase_clock.h"
#include "kernels/registry.h"
#include "tests/kernels/layer_testing.h"
#include "tests/kernels/partial_kernels.h"

namespace octet::kernels {
namespace {

// An attempt is spoiled when the machine changes its pace in the midst of it.
// Where others use the same core, twins of a tile differ by a factor of three,
// and it takes more of them to see what a phase costs: each attempt has twice
// as many as the one before, up to eight times.
constexpr int kAttempts = 10;
constexpr int kMostDoublings = 3;
constexpr int kPairs = 1201;
// Where hardly anything is saved, noise has to be less.
constexpr int kPairsOfPlainTiles = 5 * kPairs;

int PairsOf(int attempt) { return kPairs << std::min(attempt, kMostDoublings); }

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2,
                   values.end());
  return values[values.size() / 2];
}

double ThreadCpuNanoseconds() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return 1e9 * static_cast<double>(now.tv_sec) +
         static_cast<double>(now.tv_nsec);
}

// Nanoseconds of a call, which take some 50 us: hardly a time slice ends in
// one.
struct Costs {
  double call;   // in CPU time, without timing
  double phase;  // what timed ones state
};

class Subject {
 public:
  Subject(const Layer& layer, const Kernel& kernel)
      : layer_(layer),
        linear_(Int8Linear::CreateWith(kernel, layer.Spec()).value()),
        y_(layer.m * layer.n) {}

  Costs Measure(uint64_t PhaseTimes::* phase) {
    PhaseTimes times;
    Call(&times);
    const double start = ThreadCpuNanoseconds();
    Call(nullptr);
    return {.call = ThreadCpuNanoseconds() - start,
            .phase = static_cast<double>(times.*phase)};
  }

 private:
  void Call(PhaseTimes* times) {
    LinearCall call;
    call.activation = layer_.activation;
    call.times = times;
    const auto status = linear_.Run({layer_.x.data(), layer_.m, layer_.k},
                                    {y_.data(), layer_.m, layer_.n}, call);
    ASSERT_TRUE(status.ok()) << status;
  }

  const Layer& layer_;
  Int8Linear linear_;
  std::vector<float> y_;
};

// What leaving the phase out saves, in parts of the whole call.
struct Saved {
  double measured;  // by CPU time
  double stated;    // by what the phase gets shorter
  double phase;     // all of it
};

Saved CompareHere(int pairs, const Layer& layer, const Kernel& partial,
                  uint64_t PhaseTimes::* phase) {
  Subject whole(layer, SelectKernel(HostFeatures()));
  Subject rest(layer, partial);
  std::vector<double> calls;
  std::vector<double> call_differences;
  std::vector<double> phases;
  std::vector<double> phase_differences;
  for (int i = 0; i < pairs; ++i) {
    Costs all = {};
    Costs less = {};
    if (i % 2 == 0) all = whole.Measure(phase);
    less = rest.Measure(phase);
    if (i % 2 != 0) all = whole.Measure(phase);
    calls.push_back(all.call);
    call_differences.push_back(all.call - less.call);
    phases.push_back(all.phase);
    phase_differences.push_back(all.phase - less.phase);
  }
  const double call = Median(calls);
  return {.measured = Median(call_differences) / call,
          .stated = Median(phase_differences) / call,
          .phase = Median(phases) / call};
}

// In a thread of its own, as a server's calls are. Where the main thread's
// scratch lies in its page is drawn anew for each process, and in one of some
// hundred twins are 6 % slower there, in every attempt.
Saved Compare(int pairs, const Layer& layer, const Kernel& partial,
              uint64_t PhaseTimes::* phase) {
  Saved saved = {};
  std::thread([&] {
    saved = CompareHere(pairs, layer, partial, phase);
  }).join();
  return saved;
}

// `least` of a call has to be saved, or there is nothing to compare.
void ExpectAgreement(const Layer& layer, const Kernel& partial,
                     uint64_t PhaseTimes::* phase, double least) {
  std::string log;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const Saved saved = Compare(PairsOf(attempt), layer, partial, phase);
    log += "\nmeasured " + std::to_string(saved.measured) + ", stated " +
           std::to_string(saved.stated);
    if (saved.measured >= least &&
        std::fabs(saved.stated - saved.measured) <= 0.15 * saved.measured) {
      return;
    }
  }
  ADD_FAILURE() << "parts of a call saved by leaving the phase out:" << log;
}

// Everything stays in L2: what is left out must not be missed as a prefetch.
constexpr size_t kRows = 66;

TEST(PhaseShares, QuantizeCostsWhatItSays) {
  const KernelWithoutQuantize partial(SelectKernel(HostFeatures()));
  Layer layer(kRows, /*n=*/64, /*k=*/384, /*seed=*/81);
  layer.hadamard_block = 128;
  ExpectAgreement(layer, partial.kernel, &PhaseTimes::quantize_ns, 0.2);
}

TEST(PhaseShares, AnEpilogueCostsWhatItSays) {
  const KernelWithoutEpilogue partial(SelectKernel(HostFeatures()));
  Layer layer(kRows, /*n=*/320, /*k=*/64, /*seed=*/82);
  layer.activation = Activation::kGelu;
  ExpectAgreement(layer, partial.kernel, &PhaseTimes::dequantize_ns, 0.15);
}

TEST(PhaseShares, OutliersCostWhatTheySay) {
  const KernelWithoutOutliers partial(SelectKernel(HostFeatures()));
  Layer layer(kRows, /*n=*/128, /*k=*/256, /*seed=*/84);
  std::vector<int32_t> columns(32);
  for (size_t i = 0; i < columns.size(); ++i) {
    columns[i] = static_cast<int32_t>(8 * i);
  }
  layer.SetOutliers(columns, /*live=*/2.5F);
  ExpectAgreement(layer, partial.kernel, &PhaseTimes::outlier_ns, 0.2);
}

// Where the kernel scales from its registers, there is no large part to look
// at: next to nothing is saved, and no more is stated. What the partial kernel
// states is left out, since it does not finish in registers: the way to a
// function that does nothing costs as much.
TEST(PhaseShares, APlainEpilogueCostsNextToNothing) {
  constexpr double kNextToNothing = 0.04;
  const KernelWithoutEpilogue partial(SelectKernel(HostFeatures()));
  const Layer layer(kRows, /*n=*/192, /*k=*/384, /*seed=*/83);
  std::string log;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const Saved saved = Compare(kPairsOfPlainTiles, layer, partial.kernel,
                                &PhaseTimes::dequantize_ns);
    if (std::fabs(saved.phase - saved.measured) <= kNextToNothing) return;
    log += "\nmeasured " + std::to_string(saved.measured) + ", stated " +
           std::to_string(saved.phase);
  }
  ADD_FAILURE() << "parts of a call saved by leaving the epilogue out:" << log;
}

}  // namespace
}  // namespace octet::kernels
