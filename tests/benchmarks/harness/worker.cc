#include "tests/benchmarks/harness/worker.h"

#include <ctime>
#include <exception>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace octet::benchmarks {
namespace {

using nlohmann::json;

double Nanoseconds(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return 1e9 * static_cast<double>(now.tv_sec) +
         static_cast<double>(now.tv_nsec);
}

class Worker {
 public:
  explicit Worker(const std::map<std::string, Prepare>& variants)
      : variants_(variants) {}

  json Answer(const std::string& line) {
    std::istringstream words(line);
    std::string command;
    std::string variant;
    words >> command >> variant;
    std::vector<size_t> numbers;
    for (size_t number = 0; words >> number;) numbers.push_back(number);
    if (command == "drop") {
      jobs_.clear();
      return {{"ok", true}};
    }
    if (command == "prepare") return PrepareJob(variant, numbers);
    if (command == "run") return RunJob(variant, numbers.at(0));
    if (command == "report") return jobs_.at(variant)->Report();
    throw std::invalid_argument("unknown command: " + line);
  }

 private:
  json PrepareJob(const std::string& variant,
                  const std::vector<size_t>& numbers) {
    auto& job = jobs_[variant];
    job.reset();  // before the next one takes memory
    job = variants_.at(variant)(numbers);
    for (size_t i = 0; i < job->WarmUp(); ++i) job->Run();
    return {{"ok", true}, {"work", job->Work()}, {"name", job->Name()}};
  }

  json RunJob(const std::string& variant, size_t calls) {
    Job& job = *jobs_.at(variant);
    const double start = Nanoseconds(CLOCK_MONOTONIC);
    const double cpu_start = Nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
    for (size_t i = 0; i < calls; ++i) job.Run();
    const double cpu = Nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_start;
    const double time = Nanoseconds(CLOCK_MONOTONIC) - start;
    return {{"ns", time / calls}, {"cpu_ns", cpu / calls}};
  }

  const std::map<std::string, Prepare>& variants_;
  std::map<std::string, std::unique_ptr<Job>> jobs_;
};

}  // namespace

void Serve(const std::string& about,
           const std::map<std::string, Prepare>& variants) {
  std::cout << json{{"about", about}} << std::endl;
  Worker worker(variants);
  for (std::string line; std::getline(std::cin, line);) {
    try {
      std::cout << worker.Answer(line) << std::endl;
    } catch (const std::exception& error) {
      std::cout << json{{"error", error.what()}} << std::endl;
    }
  }
}

}  // namespace octet::benchmarks
