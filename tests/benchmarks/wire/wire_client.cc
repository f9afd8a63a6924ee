// Calls a server in turns and prints what calls cost: one JSON line per turn.
//
//   octet_wire_client SERVER small MODEL LAYER COLUMNS TURNS
//       {"empty_us": p50, "matmul_us": p50}       one call at a time
//   octet_wire_client SERVER large MODEL LAYER COLUMNS TURNS [IN_FLIGHT]
//       {"echo_mib_s": ..., "sink_mib_s": ..., "matmul_mib_s": ...}
//                                                 of 16 MiB tensors, sent
//
// Messages are serialized before and never parsed: the client does the same for
// both methods of a pair.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "grpcpp/create_channel.h"
#include "grpcpp/generic/generic_stub.h"
#include "nlohmann/json.hpp"
#include "octet/v1/inference_service.pb.h"

namespace octet::benchmark {
namespace {

using Clock = std::chrono::steady_clock;
using grpc::ByteBuffer;

constexpr size_t kTensorBytes = size_t{16} << 20;
constexpr char kEmpty[] = "/octet.benchmark.WireProbe/Empty";
constexpr char kEcho[] = "/octet.benchmark.WireProbe/Echo";
constexpr char kSink[] = "/octet.benchmark.WireProbe/Sink";
constexpr char kMatMul[] = "/octet.v1.InferenceService/MatMul";

struct Pair {
  ByteBuffer probe;
  ByteBuffer matmul;
};

ByteBuffer Buffer(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return ByteBuffer(&slice, 1);
}

ByteBuffer MatMulRequest(const std::string& model, const std::string& layer,
                         size_t rows, size_t columns) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> x(rows * columns);
  for (float& value : x) value = normal(random);
  v1::MatMulRequest request;
  request.set_model(model);
  request.set_layer(layer);
  request.mutable_x()->set_type(v1::DATA_TYPE_F32);
  request.mutable_x()->add_shape(static_cast<int64_t>(rows));
  request.mutable_x()->add_shape(static_cast<int64_t>(columns));
  request.mutable_x()->set_data(x.data(), x.size() * sizeof(float));
  return Buffer(request.SerializeAsString());
}

// Calls in flight over one channel.
class Caller {
 public:
  explicit Caller(const std::string& server)
      : stub_(grpc::CreateCustomChannel(
            server, grpc::InsecureChannelCredentials(), Arguments())) {}

  // `count` calls, `in_flight` at a time; each one's microseconds.
  std::vector<double> Call(const char* method, const ByteBuffer& request,
                           size_t count, size_t in_flight) {
    std::unique_lock lock(mutex_);
    micros_.clear();
    running_ = 0;
    for (size_t i = 0; i < count; ++i) {
      changed_.wait(lock, [&] { return running_ < in_flight; });
      ++running_;
      lock.unlock();
      Start(method, request);
      lock.lock();
    }
    changed_.wait(lock, [&] { return running_ == 0; });
    return micros_;
  }

 private:
  struct Flight {
    grpc::ClientContext context;
    ByteBuffer request;
    ByteBuffer response;
    Clock::time_point start;
  };

  static grpc::ChannelArguments Arguments() {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    return arguments;
  }

  void Start(const char* method, const ByteBuffer& request) {
    auto flight = std::make_shared<Flight>();
    flight->request = request;
    flight->start = Clock::now();
    stub_.UnaryCall(&flight->context, method, {}, &flight->request,
                    &flight->response, [this, flight](const grpc::Status& s) {
                      Done(s, Clock::now() - flight->start);
                    });
  }

  void Done(const grpc::Status& status, Clock::duration took) {
    if (!status.ok()) {
      std::cerr << status.error_message() << "\n";
      std::exit(EXIT_FAILURE);
    }
    const std::lock_guard lock(mutex_);
    micros_.push_back(std::chrono::duration<double, std::micro>(took).count());
    --running_;
    changed_.notify_all();
  }

  grpc::GenericStub stub_;
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t running_ = 0;
  std::vector<double> micros_;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void Small(Caller& caller, const Pair& pair) {
  constexpr size_t kCalls = 400;
  const double empty = Median(caller.Call(kEmpty, pair.probe, kCalls, 1));
  const double matmul = Median(caller.Call(kMatMul, pair.matmul, kCalls, 1));
  std::cout << nlohmann::json{{"empty_us", empty}, {"matmul_us", matmul}}
            << std::endl;
}

double MebibytesPerSecond(Caller& caller, const char* method,
                          const ByteBuffer& request, size_t in_flight) {
  constexpr size_t kCalls = 12;
  const Clock::time_point start = Clock::now();
  caller.Call(method, request, kCalls, in_flight);
  const std::chrono::duration<double> took = Clock::now() - start;
  return 16.0 * kCalls / took.count();
}

void Large(Caller& caller, const Pair& pair, size_t in_flight) {
  nlohmann::json line;
  const auto measure = [&](const char* name, const char* method,
                           const ByteBuffer& request) {
    line[name] = MebibytesPerSecond(caller, method, request, in_flight);
  };
  measure("echo_mib_s", kEcho, pair.probe);
  measure("sink_mib_s", kSink, pair.probe);
  measure("matmul_mib_s", kMatMul, pair.matmul);
  std::cout << line << std::endl;
}

int Main(int argc, char** argv) {
  if (argc < 7) {
    std::cerr << "usage: see wire_client.cc\n";
    return EXIT_FAILURE;
  }
  Caller caller(argv[1]);
  const bool small = std::string(argv[2]) == "small";
  const size_t columns = std::strtoul(argv[5], nullptr, 10);
  const size_t rows = small ? 1 : kTensorBytes / columns / sizeof(float);
  const size_t in_flight = argc > 7 ? std::strtoul(argv[7], nullptr, 10) : 1;
  Pair pair;
  pair.matmul = MatMulRequest(argv[3], argv[4], rows, columns);
  pair.probe = small ? Buffer("") : pair.matmul;
  for (size_t turn = std::strtoul(argv[6], nullptr, 10); turn > 0; --turn) {
    small ? Small(caller, pair) : Large(caller, pair, in_flight);
  }
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace octet::benchmark

int main(int argc, char** argv) { return octet::benchmark::Main(argc, argv); }
