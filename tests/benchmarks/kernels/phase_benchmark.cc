// What quantizing and the epilogue of an int8 linear cost, told in two ways:
//
//   stated    by the phases that a timed call reports
//   saved     by how much faster an untimed call is when that work is left out
//
// and what the timing itself costs.
//
//   octet_kernels_phase_benchmark [--benchmark_... flags]
//
// All variants are interleaved; a table of their medians in CPU time follows.
// What the timing costs is too little for that: timed and untimed calls take
// turns by the hundred, and the verdict is on the median of their ratios.
// What is left out is also missed: a call that does not write codes finds them
// in a farther cache. Saved quantization understates its cost where the codes
// of a call fill L2.

#include <benchmark/benchmark.h>
#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "kernels/activation.h"
#include "kernels/cpu_features.h"
#include "kernels/int8_linear.h"
#include "kernels/phase_clock.h"
#include "kernels/registry.h"
#include "tests/kernels/partial_kernels.h"

namespace octet::benchmarks {
namespace {

using kernels::Activation;
using kernels::Int8Linear;

struct Subject {
  size_t m;
  size_t k;
  size_t n;
  Activation activation;

  std::string Name() const {
    return std::to_string(m) + "x" + std::to_string(k) + "x" +
           std::to_string(n) + (activation == Activation::kGelu ? "_gelu" : "");
  }
};

constexpr Subject kSubjects[] = {
    {1, 384, 1536, Activation::kGelu},   {16, 384, 384, Activation::kNone},
    {64, 384, 384, Activation::kNone},   {64, 384, 1536, Activation::kGelu},
    {256, 384, 384, Activation::kNone},  {256, 384, 1536, Activation::kNone},
    {256, 384, 1536, Activation::kGelu}, {256, 1536, 384, Activation::kNone}};

struct Variant {
  const char* name;
  const kernels::Kernel* kernel;
  bool timed;
};

class Layer {
 public:
  Layer(const Subject& subject, const kernels::Kernel& kernel)
      : subject_(subject),
        x_(subject.m * subject.k),
        y_(subject.m * subject.n),
        linear_(Create(subject, kernel)) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (float& value : x_) value = normal(random);
  }

  void Run(kernels::PhaseTimes* times) {
    kernels::LinearCall call;
    call.activation = subject_.activation;
    call.times = times;
    const auto status = linear_.Run({x_.data(), subject_.m, subject_.k},
                                    {y_.data(), subject_.m, subject_.n}, call);
    if (!status.ok()) std::abort();
    benchmark::DoNotOptimize(y_.data());
    benchmark::ClobberMemory();
  }

 private:
  static Int8Linear Create(const Subject& subject,
                           const kernels::Kernel& kernel) {
    std::mt19937 random(2);
    std::vector<int8_t> codes(subject.n * subject.k);
    for (int8_t& code : codes) {
      code = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
    }
    const std::vector<float> scales(subject.n, 0.01F);
    kernels::Int8LinearSpec spec;
    spec.codes = {codes.data(), subject.n, subject.k};
    spec.scales = scales;
    return Int8Linear::CreateWith(kernel, spec).value();
  }

  Subject subject_;
  std::vector<float> x_;
  std::vector<float> y_;
  Int8Linear linear_;
};

// Times of repetitions and, where timed, the phases of all of them.
class Results {
 public:
  void AddPhases(const Subject& subject, const kernels::PhaseTimes& times) {
    phases_[subject.Name()] += times;
  }
  void AddTime(const std::string& name, double time) {
    times_[name].push_back(time);
  }

  void Print() const {
    std::printf("\n%-20s %10s %18s %18s\n%-20s %10s %9s %8s %9s %8s\n", "", "",
                "quantize", "dequantize", "M x K x N", "us", "stated", "saved",
                "stated", "saved");
    for (const Subject& subject : kSubjects) PrintLine(subject);
  }

 private:
  void PrintLine(const Subject& subject) const {
    const auto found = phases_.find(subject.Name());
    if (found == phases_.end()) return;  // not among those asked for
    const kernels::PhaseTimes& phases = found->second;
    const double sum =
        static_cast<double>(phases.quantize_ns + phases.dot_ns +
                            phases.dequantize_ns + phases.outlier_ns);
    const double whole = Median("whole", subject);
    if (whole == 0.0) return;
    const auto saved = [&](const char* variant) {
      return 100 * (1 - Median(variant, subject) / whole);
    };
    std::printf("%-20s %10.1f %8.1f%% %7.1f%% %8.1f%% %7.1f%%\n",
                subject.Name().c_str(), whole,
                100 * static_cast<double>(phases.quantize_ns) / sum,
                saved("without_quantize"),
                100 * static_cast<double>(phases.dequantize_ns) / sum,
                saved("without_epilogue"));
  }

  double Median(const char* variant, const Subject& subject) const {
    const auto found = times_.find(std::string(variant) + "/" + subject.Name());
    if (found == times_.end()) return 0.0;
    std::vector<double> times = found->second;
    std::nth_element(times.begin(), times.begin() + times.size() / 2,
                     times.end());
    return times[times.size() / 2];
  }

  std::map<std::string, std::vector<double>> times_;
  std::map<std::string, kernels::PhaseTimes> phases_;
};

class Reporter : public benchmark::ConsoleReporter {
 public:
  explicit Reporter(Results& results) : results_(results) {}

  void ReportRuns(const std::vector<Run>& runs) override {
    ConsoleReporter::ReportRuns(runs);
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Iteration) continue;
      results_.AddTime(run.run_name.function_name, run.GetAdjustedCPUTime());
    }
  }

 private:
  Results& results_;
};

void Register(const Subject& subject, const Variant& variant,
              Results& results) {
  const auto body = [subject, variant, &results](benchmark::State& state) {
    const kernels::Kernel& whole =
        kernels::SelectKernel(kernels::HostFeatures());
    Layer(subject, whole).Run(nullptr);  // leaves codes for who writes none
    Layer layer(subject, *variant.kernel);
    kernels::PhaseTimes times;
    for (auto _ : state) layer.Run(variant.timed ? &times : nullptr);
    if (variant.timed) results.AddPhases(subject, times);
  };
  benchmark::RegisterBenchmark(
      (std::string(variant.name) + "/" + subject.Name()).c_str(), body)
      ->MinTime(0.05)
      ->Repetitions(9)
      ->Unit(benchmark::kMicrosecond);
}

double ThreadCpuNanoseconds() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return 1e9 * static_cast<double>(now.tv_sec) +
         static_cast<double>(now.tv_nsec);
}

// The time of timed calls over that of untimed ones, less 1: the median of many
// pairs, each of a few calls, whose order changes from pair to pair.
double CostOfTiming(const Subject& subject) {
  constexpr double kAllNanoseconds = 5e8;
  constexpr double kPairNanoseconds = 400'000;  // hardly ever interrupted
  Layer layer(subject, kernels::SelectKernel(kernels::HostFeatures()));
  kernels::PhaseTimes times;
  const auto nanoseconds = [&](bool timed, size_t calls) {
    const double start = ThreadCpuNanoseconds();
    for (size_t i = 0; i < calls; ++i) layer.Run(timed ? &times : nullptr);
    return ThreadCpuNanoseconds() - start;
  };
  nanoseconds(true, 8);
  const double call = nanoseconds(false, 8) / 8;
  const auto calls = static_cast<size_t>(1 + kPairNanoseconds / 2 / call);
  const double pair = 2 * call * static_cast<double>(calls);
  const auto pairs =
      std::max<size_t>(static_cast<size_t>(kAllNanoseconds / pair), 101);
  std::vector<double> ratios;
  for (size_t i = 0; i < pairs; ++i) {
    const bool timed_first = i % 2 == 0;
    const double first = nanoseconds(timed_first, calls);
    const double second = nanoseconds(!timed_first, calls);
    ratios.push_back(timed_first ? first / second : second / first);
  }
  std::nth_element(ratios.begin(), ratios.begin() + pairs / 2, ratios.end());
  return ratios[pairs / 2] - 1;
}

void PrintCostOfTiming() {
  constexpr double kGoal = 0.01;
  double worst = 0.0;
  std::string where;
  std::printf("\nwhat timing a call costs\n");
  for (const Subject& subject : kSubjects) {
    const double cost = CostOfTiming(subject);
    std::printf("%-20s %9.2f%%\n", subject.Name().c_str(), 100 * cost);
    if (cost <= worst) continue;
    worst = cost;
    where = " at " + subject.Name();
  }
  std::printf("%s: under %g %% of every call; worst %.2f %%%s\n",
              worst < kGoal ? "ok" : "MISS", 100 * kGoal, 100 * worst,
              where.c_str());
}

int Run(std::vector<char*> arguments) {
  std::string interleave = "--benchmark_enable_random_interleaving=true";
  arguments.insert(arguments.begin() + 1, interleave.data());
  int count = static_cast<int>(arguments.size());
  arguments.push_back(nullptr);
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 1;
  const kernels::Kernel& whole = kernels::SelectKernel(kernels::HostFeatures());
  const kernels::KernelWithoutQuantize without_quantize(whole);
  const kernels::KernelWithoutEpilogue without_epilogue(whole);
  Results results;
  for (const Subject& subject : kSubjects) {
    for (const Variant& variant :
         {Variant{"whole", &whole, false},
          {"timed", &whole, true},
          {"without_quantize", &without_quantize.kernel, false},
          {"without_epilogue", &without_epilogue.kernel, false}}) {
      Register(subject, variant, results);
    }
  }
  Reporter reporter(results);
  benchmark::RunSpecifiedBenchmarks(&reporter);
  results.Print();
  PrintCostOfTiming();
  return 0;
}

}  // namespace
}  // namespace octet::benchmarks

int main(int argc, char** argv) {
  return octet::benchmarks::Run({argv, argv + argc});
}
