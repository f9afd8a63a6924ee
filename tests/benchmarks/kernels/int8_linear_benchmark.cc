// Octet's int8 linear, FP32 in and FP32 out with per-token quantization inside,
// side by side with oneDNN on one thread, at the shapes of MiniLM.
//
//   octet_kernels_benchmark [--benchmark_... flags]
//
// Repetitions of all contestants are interleaved, and a table of ratios of
// their medians in CPU time follows.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/activation.h"
#include "kernels/cpu_features.h"
#include "kernels/int8_linear.h"
#include "kernels/phase_clock.h"
#include "kernels/registry.h"
#include "tests/benchmarks/kernels/onednn_baselines.h"

namespace octet::benchmarks {
namespace {

using kernels::Activation;
using kernels::Int8Linear;

struct Shape {
  size_t m;
  size_t k;
  size_t n;

  std::string Name() const {
    return std::to_string(m) + "x" + std::to_string(k) + "x" +
           std::to_string(n);
  }
};

constexpr Shape kShapes[] = {{256, 384, 384},  {256, 384, 1536},
                             {256, 1536, 384}, {1, 384, 384},
                             {1, 384, 1536},   {1, 1536, 384}};
constexpr size_t kOutlierColumns = 7;  // as MiniLM's FFN-up inputs have

struct Layer {
  Layer(const Shape& shape, bool outliers)
      : x(shape.m * shape.k), y(shape.m * shape.n), shape(shape) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (float& value : x) value = normal(random);
    std::vector<int8_t> codes(shape.n * shape.k);
    for (int8_t& code : codes) {
      code = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
    }
    const std::vector<float> scales(shape.n, 0.01F);
    const std::vector<float> bias(shape.n, 0.5F);
    const std::vector<uint16_t> fp16(kOutlierColumns * shape.n, 0x3800);
    std::vector<int32_t> columns;
    kernels::Int8LinearSpec spec;
    spec.codes = {codes.data(), shape.n, shape.k};
    spec.scales = scales;
    spec.bias = bias;
    if (outliers) {
      for (size_t i = 0; i < kOutlierColumns; ++i) {
        columns.push_back(static_cast<int32_t>(i * shape.k / kOutlierColumns));
      }
      spec.outlier_columns = columns;
      spec.outlier_weights = {fp16.data(), kOutlierColumns, shape.n};
      spec.outlier_threshold = 6.0F;
    }
    linear = std::make_unique<Int8Linear>(Int8Linear::Create(spec).value());
  }

  void Run(const kernels::LinearCall& call) {
    const auto status = linear->Run({x.data(), shape.m, shape.k},
                                    {y.data(), shape.m, shape.n}, call);
    if (!status.ok()) std::abort();
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
  }

  std::vector<float> x;
  std::vector<float> y;
  Shape shape;
  std::unique_ptr<Int8Linear> linear;
};

void CountOperations(benchmark::State& state, const Shape& shape) {
  state.counters["GOP/s"] = benchmark::Counter(
      2e-9 * static_cast<double>(shape.m * shape.k * shape.n),
      benchmark::Counter::kIsIterationInvariantRate);
}

struct Variant {
  const char* name;
  bool timed;
  bool outliers;
  Activation activation;
};

constexpr Variant kVariants[] = {
    {"octet_int8", false, false, Activation::kNone},
    {"octet_int8_timed", true, false, Activation::kNone},
    {"octet_int8_gelu", false, false, Activation::kGelu},
    {"octet_llm_int8", false, true, Activation::kNone}};

void RunOctet(benchmark::State& state, const Shape& shape,
              const Variant& variant) {
  Layer layer(shape, variant.outliers);
  kernels::PhaseTimes times;
  kernels::LinearCall call;
  call.activation = variant.activation;
  if (variant.timed) call.times = &times;
  for (auto _ : state) layer.Run(call);
  CountOperations(state, shape);
  const double sum = static_cast<double>(times.quantize_ns + times.dot_ns +
                                         times.dequantize_ns);
  if (sum == 0) return;
  state.counters["quantize%"] = 100.0 * times.quantize_ns / sum;
  state.counters["dequantize%"] = 100.0 * times.dequantize_ns / sum;
}

void RunOneDnn(benchmark::State& state, const Shape& shape, bool is_float) {
  const auto matmul = is_float ? OneDnnMatmul::Float(shape.m, shape.k, shape.n)
                               : OneDnnMatmul::Int8(shape.m, shape.k, shape.n);
  for (auto _ : state) matmul->Run();
  CountOperations(state, shape);
}

void RegisterAll() {
  for (const Shape& shape : kShapes) {
    const auto add = [&](const std::string& name, auto body) {
      benchmark::RegisterBenchmark((name + "/" + shape.Name()).c_str(), body)
          ->MinTime(0.05)
          ->Repetitions(9)
          ->Unit(benchmark::kMicrosecond);
    };
    for (const Variant& variant : kVariants) {
      add(variant.name,
          [&](benchmark::State& state) { RunOctet(state, shape, variant); });
    }
    add("onednn_fp32",
        [&](benchmark::State& state) { RunOneDnn(state, shape, true); });
    add("onednn_int8_multiply_only",
        [&](benchmark::State& state) { RunOneDnn(state, shape, false); });
  }
}

// The usual console output, and the times of every benchmark's repetitions.
class RatioReporter : public benchmark::ConsoleReporter {
 public:
  void ReportRuns(const std::vector<Run>& runs) override {
    ConsoleReporter::ReportRuns(runs);
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Iteration) continue;
      const std::string name = run.run_name.function_name;
      times_[name].push_back(run.GetAdjustedCPUTime());
    }
  }

  void PrintRatios() const {
    std::printf("\nkernel %s, one thread; x times as fast as oneDNN\n",
                std::string(kernels::SelectKernel(kernels::HostFeatures()).name)
                    .c_str());
    std::printf("%-15s %-18s %10s %10s %12s %14s\n", "M x K x N", "octet", "us",
                "GOP/s", "vs FP32", "vs int8 only");
    for (const Shape& shape : kShapes) {
      for (const Variant& variant : kVariants) PrintRatio(shape, variant);
    }
  }

 private:
  void PrintRatio(const Shape& shape, const Variant& variant) const {
    const double time = Median(variant.name, shape);
    if (time == 0.0) return;  // not among those asked for
    std::printf("%-15s %-18s %10.1f %10.0f %12.2f %14.2f\n",
                shape.Name().c_str(), variant.name, time,
                2e-3 * static_cast<double>(shape.m * shape.k * shape.n) / time,
                Median("onednn_fp32", shape) / time,
                Median("onednn_int8_multiply_only", shape) / time);
  }

  double Median(const std::string& name, const Shape& shape) const {
    const auto found = times_.find(name + "/" + shape.Name());
    if (found == times_.end()) return 0.0;
    std::vector<double> times = found->second;
    std::nth_element(times.begin(), times.begin() + times.size() / 2,
                     times.end());
    return times[times.size() / 2];
  }

  std::map<std::string, std::vector<double>> times_;
};

}  // namespace
}  // namespace octet::benchmarks

int main(int argc, char** argv) {
  std::vector<char*> arguments(argv, argv + argc);
  std::string interleave = "--benchmark_enable_random_interleaving=true";
  arguments.insert(arguments.begin() + 1, interleave.data());
  int count = static_cast<int>(arguments.size());
  arguments.push_back(nullptr);
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 1;
  octet::benchmarks::UseOneThread();
  octet::benchmarks::RegisterAll();
  octet::benchmarks::RatioReporter reporter;
  benchmark::RunSpecifiedBenchmarks(&reporter);
  reporter.PrintRatios();
  return 0;
}
