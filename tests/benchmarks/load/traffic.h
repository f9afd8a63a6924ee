// The two shapes of load.
//
//   closed  N clients, each sends its next request when the last is answered:
//           what a server gives at that concurrency
//   open    requests come at random (Poisson), whether or not the server keeps
//           up: what users feel at that rate, and what overload does
//
// In the open shape a share of the calls can be given up some time after they
// were sent, as clients do that lose their patience.

#ifndef OCTET_TESTS_BENCHMARKS_LOAD_TRAFFIC_H_
#define OCTET_TESTS_BENCHMARKS_LOAD_TRAFFIC_H_

#include <cstddef>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "grpcpp/generic/generic_stub.h"
#include "tests/benchmarks/load/recorder.h"
#include "tests/benchmarks/load/requests.h"

namespace octet::benchmarks {

struct TrafficOptions {
  size_t connections = 4;
  absl::Duration deadline = absl::Seconds(10);
  double cancelled_share = 0.0;  // of the open shape
  absl::Duration cancelled_after = absl::Milliseconds(1);
  unsigned seed = 1;
};

class Traffic {
 public:
  // Waits for its connections; throws std::runtime_error when there are none
  // after 60 s. The others must outlive it.
  Traffic(const std::string& address, const TrafficOptions& options,
          Requests* requests, Recorder* recorder);
  ~Traffic();  // waits for all answers

  // Until `end`; calls may still be in flight then.
  void RunClosed(size_t clients, absl::Time end);
  void RunOpen(double per_second, absl::Time end);

 private:
  struct Call;
  using CallPtr = std::shared_ptr<Call>;

  // `then` runs after the answer was recorded.
  CallPtr Send(size_t connection, absl::Time due, std::function<void()> then);
  void SendNext(size_t client, absl::Time end);
  void CancelImpatient(absl::Time now);

  const TrafficOptions options_;
  Requests& requests_;
  Recorder& recorder_;
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs_;
  std::mt19937 random_;
  std::deque<std::pair<absl::Time, std::weak_ptr<Call>>> impatient_;
  std::atomic<size_t> in_flight_ = 0;
};

}  // namespace octet::benchmarks

#endif  // OCTET_TESTS_BENCHMARKS_LOAD_TRAFFIC_H_
