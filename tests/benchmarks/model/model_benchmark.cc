// Forward of a checkpoint, by scheme, batch and threads:
//   OCTET_CHECKPOINT=<directory> octet_model_benchmark
//
// Arguments of each benchmark: sequences, tokens in each, threads. Counters:
// tokens per second, and for INT8 the share of quantize + dequantize.

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <string>

#include "kernels/thread_pool.h"
#include "tests/benchmarks/model/checkpoint.h"

namespace octet::benchmarks {
namespace {

const model::Model* FindModel(model::Scheme scheme) {
  static std::map<model::Scheme, std::unique_ptr<const model::Model>> models;
  auto& model = models[scheme];
  if (model != nullptr) return model.get();
  const char* directory = std::getenv("OCTET_CHECKPOINT");
  if (directory == nullptr) return nullptr;
  auto loaded = LoadCheckpoint(directory, scheme);
  if (!loaded.ok()) {
    std::cerr << loaded.status() << "\n";
    return nullptr;
  }
  model = *std::move(loaded);
  return model.get();
}

model::ModelInput RandomTokens(const model::Graph& graph, size_t sequences,
                               size_t length) {
  std::mt19937 random(1);
  std::uniform_int_distribution<int32_t> ids(
      0, static_cast<int32_t>(graph.vocabulary) - 1);
  model::ModelInput input;
  input.lengths.assign(sequences, static_cast<int32_t>(length));
  for (size_t i = 0; i < sequences * length; ++i) {
    input.token_ids.push_back(ids(random));
  }
  return input;
}

void Forward(benchmark::State& state, model::Scheme scheme) {
  const model::Model* model = FindModel(scheme);
  if (model == nullptr) {
    state.SkipWithError("OCTET_CHECKPOINT names no BERT checkpoint");
    return;
  }
  kernels::ThreadPool pool(static_cast<size_t>(state.range(2)));
  model::LayerKindTimes times;
  model::RunOptions options;
  options.pool = &pool;
  options.times = &times;
  const model::ModelInput input =
      RandomTokens(model->graph(), static_cast<size_t>(state.range(0)),
                   static_cast<size_t>(state.range(1)));
  for (auto _ : state) {
    const auto output = model->Forward(input, options);
    if (!output.ok()) {
      state.SkipWithError(std::string(output.status().message()).c_str());
      return;
    }
    benchmark::DoNotOptimize(output->values.data());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0) * state.range(1));
  kernels::PhaseTimes sum;
  for (const auto& [kind, phase] : times) sum += phase;
  const auto overhead =
      static_cast<double>(sum.quantize_ns + sum.dequantize_ns);
  if (sum.dot_ns > 0) {
    state.counters["dequant_share"] =
        overhead / (overhead + static_cast<double>(sum.dot_ns));
  }
}

void Shapes(benchmark::internal::Benchmark* benchmark) {
  for (const int threads : {1, 2}) {
    benchmark->Args({8, 128, threads})->Args({1, 128, threads});
    benchmark->Args({1, 28, threads})->Args({1, 16, threads});
  }
  benchmark->Unit(benchmark::kMillisecond)->UseRealTime();
}

BENCHMARK_CAPTURE(Forward, fp32, model::Scheme::kFp32)->Apply(Shapes);
BENCHMARK_CAPTURE(Forward, bf16, model::Scheme::kBf16)->Apply(Shapes);
BENCHMARK_CAPTURE(Forward, w8a8_dynamic, model::Scheme::kW8A8Dynamic)
    ->Apply(Shapes);

}  // namespace
}  // namespace octet::benchmarks

BENCHMARK_MAIN();
