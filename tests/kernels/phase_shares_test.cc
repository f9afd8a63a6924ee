// What a linear says of its phases is what they cost: when a phase's work is
// left out, a call gets faster by as much as the phase gets shorter.
//
// Ratios of times are compared, never times; each is a median over repetitions
// of both variants in turn, and a busy machine gets several attempts.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
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

constexpr int kAttempts = 40;
// Short beside a time slice, so that most are not interrupted.
constexpr int kRepetitions = 151;
constexpr int kCallsPerRepetition = 4;

// On a shared machine no share of a call is measured better than this.
constexpr double kFloor = 0.015;

double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2,
                   values.end());
  return values[values.size() / 2];
}

// Nanoseconds per call: by the wall clock without timing, and a phase's.
struct Costs {
  double call;
  double phase;
};

class Subject {
 public:
  Subject(const Layer& layer, const Kernel& kernel)
      : layer_(layer),
        linear_(Int8Linear::CreateWith(kernel, layer.Spec()).value()),
        y_(layer.m * layer.n) {}

  void Measure(uint64_t PhaseTimes::* phase) {
    PhaseTimes times;
    Calls(&times);
    const auto start = std::chrono::steady_clock::now();
    Calls(nullptr);
    const std::chrono::duration<double, std::nano> elapsed =
        std::chrono::steady_clock::now() - start;
    call_ns_.push_back(elapsed.count() / kCallsPerRepetition);
    phase_ns_.push_back(static_cast<double>(times.*phase) /
                        kCallsPerRepetition);
  }

  Costs Take() {
    const Costs costs = {Median(call_ns_), Median(phase_ns_)};
    call_ns_.clear();
    phase_ns_.clear();
    return costs;
  }

 private:
  void Calls(PhaseTimes* times) {
    LinearCall call;
    call.activation = layer_.activation;
    call.times = times;
    for (int i = 0; i < kCallsPerRepetition; ++i) {
      const auto status = linear_.Run({layer_.x.data(), layer_.m, layer_.k},
                                      {y_.data(), layer_.m, layer_.n}, call);
      ASSERT_TRUE(status.ok()) << status;
    }
  }

  const Layer& layer_;
  Int8Linear linear_;
  std::vector<float> y_;
  std::vector<double> call_ns_;
  std::vector<double> phase_ns_;
};

// Both as shares of the whole call.
struct Saved {
  double measured;  // by the clock on the wall
  double stated;    // by the phase

  // Within 15 %, or `floor` of the whole.
  bool Agree(double floor) const {
    return std::fabs(stated - measured) <= std::max(0.15 * measured, floor);
  }
};

Saved Compare(Subject& whole, Subject& partial, uint64_t PhaseTimes::* phase) {
  for (int i = 0; i < kRepetitions; ++i) {
    whole.Measure(phase);
    partial.Measure(phase);
  }
  const Costs all = whole.Take();
  const Costs rest = partial.Take();
  return {.measured = (all.call - rest.call) / all.call,
          .stated = (all.phase - rest.phase) / all.call};
}

void ExpectAgreement(const Layer& layer, const Kernel& partial,
                     uint64_t PhaseTimes::* phase, double least,
                     double floor = kFloor) {
  std::string log;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    Subject whole(layer, SelectKernel(HostFeatures()));
    Subject rest(layer, partial);
    const Saved saved = Compare(whole, rest, phase);
    log += "\nmeasured " + std::to_string(saved.measured) + ", stated " +
           std::to_string(saved.stated);
    if (saved.Agree(floor) && saved.measured >= least) return;
  }
  ADD_FAILURE() << "shares saved by leaving the phase out:" << log;
}

// Everything stays in L2: what is left out must not be missed as a prefetch.
constexpr size_t kRows = 66;
constexpr size_t kN = 320;
constexpr size_t kK = 384;

TEST(PhaseShares, QuantizeCostsWhatItSays) {
  const KernelWithoutQuantize partial(SelectKernel(HostFeatures()));
  Layer layer(kRows, kN, kK, /*seed=*/81);
  ExpectAgreement(layer, partial.kernel, &PhaseTimes::quantize_ns, 0.01);
  layer.hadamard_block = 128;
  ExpectAgreement(layer, partial.kernel, &PhaseTimes::quantize_ns, 0.05);
}

TEST(PhaseShares, AnEpilogueCostsWhatItSays) {
  const KernelWithoutEpilogue partial(SelectKernel(HostFeatures()));
  Layer layer(kRows, kN, kK, /*seed=*/82);
  layer.activation = Activation::kGelu;
  ExpectAgreement(layer, partial.kernel, &PhaseTimes::dequantize_ns, 0.02);
}

// Where the kernel scales from its registers, next to nothing: about what the
// clock adds to a sampled tile, which does not overlap with its neighbours.
TEST(PhaseShares, APlainEpilogueCostsNextToNothing) {
  const KernelWithoutEpilogue partial(SelectKernel(HostFeatures()));
  const Layer layer(kRows, kN, kK, /*seed=*/83);
  ExpectAgreement(layer, partial.kernel, &PhaseTimes::dequantize_ns,
                  /*least=*/-0.03, /*floor=*/0.03);
}

}  // namespace
}  // namespace octet::kernels
