// The whole service in one object: stores, models, queues, operations, metrics
// and the gRPC server over them. main() and tests use it alike.
//
// The data directory:
//   lock            held by the server that uses it
//   checkpoints/    calibrations/    bundles/    operations/
//   models.json     what is loaded, and loaded again after a restart
//   scratch/        emptied at every start

#ifndef OCTET_SERVER_RPC_SERVER_H_
#define OCTET_SERVER_RPC_SERVER_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "kernels/int8_linear.h"
#include "server/quantization/calibration/calibration.h"
#include "server/rpc/calls/client_limits.h"
#include "server/rpc/calls/request_log.h"
#include "server/rpc/security/security.h"
#include "server/rpc/transport.h"

namespace octet::rpc {

struct ServerOptions {
  std::string grpc_address = "0.0.0.0:8001";
  std::string metrics_address = "0.0.0.0:8002";
  std::filesystem::path data_directory = "octet-data";
  size_t threads = 0;  // that compute; 0: the CPUs this process may use
  kernels::Int8Backend int8_backend = kernels::Int8Backend::kOwn;
  // SchedulerOptions; capacity are the requests that wait for each model.
  size_t queue_capacity = 256;
  size_t queue_rows = size_t{1} << 16;
  size_t batch_rows = 128;
  absl::Duration batch_wait = absl::ZeroDuration();
  size_t max_waiting_operations = 16;
  size_t max_message_bytes = size_t{64} << 20;
  // The values of one request's answer, in FP32. gRPC's messages end at 2 GiB.
  uint64_t max_answer_bytes = uint64_t{512} << 20;
  uint64_t max_upload_bytes = uint64_t{64} << 30;  // one checkpoint or bundle
  // What a quantization may take to measure the whole model.
  uint64_t max_measure_bytes = uint64_t{2} << 30;
  bool allow_shared_memory = false;  // for tensors, of clients on this machine
  bool allow_capture = false;        // of live traffic, into calibrations
  bool allow_non_finite = false;     // in requests; such rows come out as NaN
  SecurityOptions security;
  TransportOptions transport;
  ClientLimitOptions client_limits;
  RequestLogOptions request_log;
  quantization::CalibrationOptions calibration;  // what they keep by default
};

class Server {
 public:
  // Locks the data directory, throws away what a crash left half made, binds
  // both ports and loads the models that were loaded. Health says NOT_SERVING
  // until that is done. A model that cannot be loaded again is logged.
  // Errors: FAILED_PRECONDITION when another server uses the directory,
  // UNAVAILABLE when a port cannot be bound, RESOURCE_EXHAUSTED when the system
  // starts too few threads, those of Security::Open.
  static absl::StatusOr<std::unique_ptr<Server>> Start(
      const ServerOptions& options);
  ~Server();  // Shutdown at once, if it was not called

  int grpc_port() const;  // the ones that were bound, when 0 was asked for
  int metrics_port() const;

  // Reports NOT_SERVING and goes on for `grace`, so that load balancers look
  // elsewhere; then answers new requests UNAVAILABLE, finishes what was
  // admitted (calls and operations), closes all connections, and cancels what
  // is left after `drain`. A stream of requests (StreamMatMul) is not waited
  // for, but for the answers to the requests that it has sent.
  void Shutdown(absl::Duration grace, absl::Duration drain);

  // Ends a Shutdown early, from another thread: what is left is cancelled.
  void Hurry();

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_SERVER_H_
