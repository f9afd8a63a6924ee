// What the services work on. Knows nothing of gRPC; owned by the Server.

#ifndef OCTET_SERVER_RPC_RESOURCES_BACKEND_H_
#define OCTET_SERVER_RPC_RESOURCES_BACKEND_H_

#include <cstdint>
#include <filesystem>
#include <memory>

#include "absl/synchronization/mutex.h"
#include "kernels/thread_pool.h"
#include "server/bundle/directory_store.h"
#include "server/quantization/calibration/calibration.h"
#include "server/quantization/job/operations.h"
#include "server/rpc/resources/calibration_store.h"
#include "server/rpc/resources/float_models.h"
#include "server/rpc/resources/leases.h"
#include "server/serving/model_registry.h"
#include "server/serving/scheduler.h"
#include "server/telemetry/metrics.h"

namespace octet::rpc {

class Captures;

struct Backend {
  bundle::DirectoryStore checkpoints;
  bundle::DirectoryStore bundles;
  CalibrationStore calibrations;
  FloatModels float_models;
  std::filesystem::path scratch;  // emptied at every start
  uint64_t max_upload_bytes;
  uint64_t max_measure_bytes;  // QuantizeJob
  bool allow_shared_memory;    // of clients on this machine
  bool allow_non_finite;       // in requests; such rows are answered with NaN
  quantization::CalibrationOptions calibration_options;  // defaults

  telemetry::Metrics* metrics;
  kernels::ThreadPool* pool;
  serving::ModelRegistry* models;
  serving::Scheduler* scheduler;
  quantization::Operations* operations;

  Leases leases;
  // Held shared while something comes to depend on a checkpoint or bundle
  // (a model, an operation), exclusively while one is renamed away. Nobody
  // loads or deletes with it: one that waits to write keeps all readers out.
  absl::Mutex dependencies;

  Captures* captures;
};

}  // namespace octet::rpc

#endif  // OCTET_SERVER_RPC_RESOURCES_BACKEND_H_
