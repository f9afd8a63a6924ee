// One engine as a process of its own, driven over stdin and stdout, so that the
// thread pools and caches of several engines never meet:
//
//   prepare VARIANT NUMBER...   {"ok": true, "work": operations per call, ...}
//   run VARIANT CALLS           {"ns": per call, "cpu_ns": of all threads}
//   report VARIANT              {"name": number, ...}, what a job counted
//   drop                        {"ok": true}; all jobs are forgotten
//
// An error is {"error": "..."}. A worker waits for its next line blocked in a
// read, and ends at the end of its input. worker.py is the same for Python.

#ifndef OCTET_TESTS_BENCHMARKS_HARNESS_WORKER_H_
#define OCTET_TESTS_BENCHMARKS_HARNESS_WORKER_H_

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace octet::benchmarks {

class Job {
 public:
  virtual ~Job() = default;
  virtual void Run() = 0;
  // Calls after which every memory has been touched once.
  virtual size_t WarmUp() const { return 1; }
  // What one call does: multiplications and additions, or bytes read.
  virtual double Work() const { return 0.0; }
  virtual std::string Name() const { return ""; }  // of the code that runs
  virtual std::map<std::string, double> Report() { return {}; }
};

// Throws std::exception when it cannot be done.
using Prepare =
    std::function<std::unique_ptr<Job>(const std::vector<size_t>& numbers)>;

// `about` is printed first, as {"about": ...}.
void Serve(const std::string& about,
           const std::map<std::string, Prepare>& variants);

// M K N COPIES: a linear layer, whose weights lie in memory several times and
// are used in turn, so that no cache holds them from one call to the next.
struct LinearShape {
  explicit LinearShape(const std::vector<size_t>& numbers)
      : m(numbers.at(0)),
        k(numbers.at(1)),
        n(numbers.at(2)),
        copies(numbers.at(3)) {}
  double Operations() const { return 2.0 * m * k * n; }

  size_t m;
  size_t k;
  size_t n;
  size_t copies;
};

}  // namespace octet::benchmarks

#endif  // OCTET_TESTS_BENCHMARKS_HARNESS_WORKER_H_
