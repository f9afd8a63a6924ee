// Loads a server of the Open Inference Protocol with sentences and prints, as
// one line of JSON, what became of them:
//
//   octet_load --target 127.0.0.1:8001 --model minilm --sequences ids.json
//       --clients 16                     closed loop
//       --rate 500                       open loop, requests per second

#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/benchmarks/load/recorder.h"
#include "tests/benchmarks/load/requests.h"
#include "tests/benchmarks/load/traffic.h"

namespace octet::benchmarks {
namespace {

struct Options {
  std::string target;
  std::string model;
  std::string output = "sentence_embedding";
  std::filesystem::path sequences;
  size_t clients = 0;
  double rate = 0.0;
  double seconds = 10.0;
  double warm_up_seconds = 2.0;
  double deadline_seconds = 10.0;
  double cancelled_after_ms = 1.0;
  TrafficOptions traffic;
};

void AddFlags(CLI::App& app, Options& options) {
  app.add_option("--target", options.target, "HOST:PORT")->required();
  app.add_option("--model", options.model, "Its name there")->required();
  app.add_option("--output", options.output, "The tensor that is wanted");
  app.add_option("--sequences", options.sequences,
                 "JSON file: a list of lists of token ids")
      ->required()
      ->check(CLI::ExistingFile);
  auto* shape = app.add_option_group("shape", "One of them");
  shape->add_option("--clients", options.clients, "Of the closed loop")
      ->check(CLI::PositiveNumber);
  shape->add_option("--rate", options.rate, "Requests/s of the open loop")
      ->check(CLI::PositiveNumber);
  shape->require_option(1);
  app.add_option("--seconds", options.seconds, "How long it is measured");
  app.add_option("--warm-up-seconds", options.warm_up_seconds,
                 "Before that, at the same load");
  app.add_option("--deadline-seconds", options.deadline_seconds, "Of a call");
  app.add_option("--connections", options.traffic.connections, "TCP, that is");
  app.add_option("--cancelled-share", options.traffic.cancelled_share,
                 "Of the open loop's calls, given up by their client")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--cancelled-after-ms", options.cancelled_after_ms,
                 "When they are");
  app.add_option("--seed", options.traffic.seed, "Of order and arrivals");
}

nlohmann::json Run(Options options) {
  options.traffic.deadline = absl::Seconds(options.deadline_seconds);
  options.traffic.cancelled_after =
      absl::Milliseconds(options.cancelled_after_ms);
  Requests requests(options.sequences, options.model, options.output,
                    options.traffic.seed);
  Recorder recorder;
  {
    Traffic traffic(options.target, options.traffic, &requests, &recorder);
    const auto run = [&](double seconds) {
      const absl::Time end = absl::Now() + absl::Seconds(seconds);
      options.clients > 0 ? traffic.RunClosed(options.clients, end)
                          : traffic.RunOpen(options.rate, end);
    };
    run(options.warm_up_seconds);
    recorder.Begin();
    run(options.seconds);
    recorder.End();
  }
  return recorder.Summary();
}

}  // namespace
}  // namespace octet::benchmarks

int main(int argc, char** argv) {
  CLI::App app("Loads a server of the Open Inference Protocol.");
  octet::benchmarks::Options options;
  octet::benchmarks::AddFlags(app, options);
  CLI11_PARSE(app, argc, argv);
  try {
    std::puts(octet::benchmarks::Run(options).dump().c_str());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
