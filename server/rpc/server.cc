#include "server/rpc/server.h"

#include <grpc/grpc.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "google/protobuf/descriptor.h"
#include "grpc/health/v1/health.pb.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/impl/service_type.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "kernels/status_macros.h"
#include "kernels/thread_pool.h"
#include "kernels/usable_cpus.h"
#include "server/model/str_cat.h"
#include "server/quantization/job/operations.h"
#include "server/rpc/calls/call_gate.h"
#include "server/rpc/calls/reactors.h"
#include "server/rpc/checkpoints.h"
#include "server/rpc/listeners.h"
#include "server/rpc/oip/service.h"
#include "server/rpc/operation_metrics.h"
#include "server/rpc/resources/backend.h"
#include "server/rpc/resources/captures.h"
#include "server/rpc/resources/data_directory.h"
#include "server/rpc/services.h"
#include "server/serving/model_registry.h"
#include "server/serving/scheduler.h"
#include "server/serving/watcher.h"
#include "server/serving/work_queue.h"
#include "server/telemetry/exposer.h"
#include "server/telemetry/metrics.h"
#include "server/telemetry/security_metrics.h"
#include "spdlog/spdlog.h"

namespace octet::rpc {
namespace {

// Threads for work that waits for disks. One long validation must not hold up
// the others; their computing shares the one pool.
constexpr size_t kFileWorkers = 8;
constexpr size_t kFileQueue = 1024;
// Threads that read large requests (wire_reactors.cc). What clients may have in
// flight is a bound that is met before this one.
constexpr size_t kReadWorkers = 2;
constexpr size_t kReadQueue = size_t{1} << 16;
// Threads that may wait for a client that reads a bundle (kSendPatience).
constexpr size_t kTransferWorkers = 8;
constexpr size_t kTransferQueue = 64;

// While draining: how often to look whether all is done, and how long clients
// have to read the last answers, and closed connections to go.
constexpr absl::Duration kLookAgain = absl::Milliseconds(2);
constexpr absl::Duration kSettle = absl::Milliseconds(100);

constexpr std::array<const char*, 7> kServices = {
    "octet.v1.CheckpointService",    "octet.v1.CalibrationService",
    "octet.v1.QuantizationService",  "octet.v1.BundleService",
    "octet.v1.ModelService",         "octet.v1.InferenceService",
    "inference.GRPCInferenceService"};

// A counter that appears with its first call would hide that call from rates.
void AddMethodSeries(telemetry::Metrics& metrics) {
  const auto* pool = google::protobuf::DescriptorPool::generated_pool();
  for (const char* name : kServices) {
    const auto* service = pool->FindServiceByName(name);
    for (int i = 0; i < service->method_count(); ++i) {
      metrics.AddRpcMethod(
          model::StrCat(service->name(), "/", service->method(i)->name()));
    }
  }
}

serving::SchedulerOptions ScheduleOf(const ServerOptions& options,
                                     kernels::ThreadPool* pool) {
  serving::SchedulerOptions schedule;
  schedule.workers = pool->threads();
  schedule.pool = pool;
  schedule.allow_non_finite = options.allow_non_finite;
  schedule.queue_requests = options.queue_capacity;
  schedule.queue_rows = options.queue_rows;
  schedule.batch_rows = options.batch_rows;
  schedule.batch_wait = options.batch_wait;
  return schedule;
}

absl::Status TooFewThreads(const ServerOptions& options,
                           std::string_view problem) {
  const size_t threads =
      options.threads == 0 ? kernels::UsableCpus() : options.threads;
  return absl::ResourceExhaustedError(model::StrCat(
      "--threads: the system does not start all the threads that ", threads,
      " take (", problem,
      "): ask for fewer, or raise its limits (ulimit -u and -v, pids.max)"));
}

}  // namespace

class Server::Impl {
 public:
  Impl(DataDirectory data, const ServerOptions& options)
      : data_(std::move(data)),
        pool_(options.threads),
        scheduler_(ScheduleOf(options, &pool_), &metrics_),
        file_queue_(kFileWorkers, kFileQueue),
        read_queue_(kReadWorkers, kReadQueue),
        transfer_queue_(kTransferWorkers, kTransferQueue) {}

  ~Impl() { Shutdown(absl::ZeroDuration(), absl::ZeroDuration()); }

  absl::Status Start(const ServerOptions& options) {
    ASSIGN_OR_RETURN(security_,
                     Security::Open(options.security, options.grpc_address,
                                    &security_metrics_));
    gate_ = std::make_unique<CallGate>(security_.get(), options.client_limits,
                                       options.max_answer_bytes,
                                       options.request_log, &security_metrics_);
    RETURN_IF_ERROR(OpenStores(options));
    MakeServices();
    AddMethodSeries(metrics_);
    ASSIGN_OR_RETURN(
        exposer_, telemetry::Exposer::Start(options.metrics_address, metrics_));
    RETURN_IF_ERROR(Listen(options));
    if (absl::Status restored = models_->Restore(); !restored.ok()) {
      spdlog::error("a model could not be loaded again: {}",
                    restored.ToString());
    }
    gate_->phase = Phase::kServing;
    server_->GetHealthCheckService()->SetServingStatus(true);
    return absl::OkStatus();
  }

  int grpc_port() const { return grpc_port_; }
  int metrics_port() const { return exposer_->port(); }

  void Shutdown(absl::Duration grace, absl::Duration drain) {
    if (server_ == nullptr) return;
    gate_->phase = Phase::kLeaving;
    server_->GetHealthCheckService()->SetServingStatus(false);
    AwaitHurry(absl::Now() + grace);
    const absl::Time deadline = absl::Now() + drain;
    gate_->phase = Phase::kStopping;
    StopListening(grpc_port_);
    Await(deadline, [this] { return gate_->in_flight == 0; });
    if (drain > absl::ZeroDuration()) AwaitHurry(absl::Now() + kSettle);
    // What still comes over open connections would get gRPC's CANCELLED in a
    // Shutdown; a client that loses its connection is told UNAVAILABLE.
    grpc_server_cancel_all_calls(server_->c_server());
    absl::SleepFor(std::min(drain, kSettle));
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
    Await(deadline, [this] { return operation_metrics_->Idle(); });
    operations_.reset();
    read_queue_.Drain(absl::InfinitePast());
    scheduler_.Drain(absl::InfinitePast());
    file_queue_.Drain(absl::InfinitePast());
    transfer_queue_.Drain(absl::InfinitePast());
    captures_.reset();  // saves what they took
    server_.reset();
  }

  void Hurry() {
    absl::MutexLock lock(&hurry_mutex_);
    hurry_ = true;
  }

 private:
  // Waits until `done`, the deadline or Hurry, whatever is first.
  void Await(absl::Time deadline, absl::FunctionRef<bool()> done) {
    while (!done() && absl::Now() < deadline) {
      if (AwaitHurry(std::min(deadline, absl::Now() + kLookAgain))) return;
    }
  }

  // Waits until then, or for Hurry; whether that was called.
  bool AwaitHurry(absl::Time until) {
    absl::MutexLock lock(&hurry_mutex_);
    return hurry_mutex_.AwaitWithDeadline(absl::Condition(&hurry_), until);
  }

  absl::Status OpenStores(const ServerOptions& options) {
    ASSIGN_OR_RETURN(
        bundle::DirectoryStore checkpoints,
        bundle::DirectoryStore::Open(data_.checkpoints(), "checkpoint"));
    ASSIGN_OR_RETURN(bundle::DirectoryStore bundles,
                     bundle::DirectoryStore::Open(data_.bundles(), "bundle"));
    RETURN_IF_ERROR(RecoverUploads(checkpoints));
    for (const std::string& id : bundles.ListStaged()) {
      RETURN_IF_ERROR(bundles.Discard(id));
    }
    ASSIGN_OR_RETURN(CalibrationStore calibrations,
                     CalibrationStore::Open(data_.calibrations()));
    backend_ = std::make_unique<Backend>(
        std::move(checkpoints), std::move(bundles), std::move(calibrations));
    models_ = std::make_unique<serving::ModelRegistry>(
        &backend_->checkpoints, &backend_->bundles, data_.models(), &metrics_);
    models_->set_watcher(&watcher_);
    models_->set_int8_backend(options.int8_backend);
    ASSIGN_OR_RETURN(operations_,
                     quantization::Operations::Open(
                         data_.operations(), options.max_waiting_operations,
                         [this](const std::string& bundle) {
                           return backend_->bundles.Find(bundle).ok();
                         }));
    operation_metrics_ =
        std::make_unique<OperationMetrics>(operations_.get(), &metrics_);
    backend_->scratch = data_.scratch();
    backend_->max_upload_bytes = options.max_upload_bytes;
    backend_->max_measure_bytes = options.max_measure_bytes;
    backend_->allow_shared_memory = options.allow_shared_memory;
    backend_->allow_non_finite = options.allow_non_finite;
    backend_->calibration_options = options.calibration;
    backend_->metrics = &metrics_;
    backend_->pool = &pool_;
    backend_->models = models_.get();
    backend_->scheduler = &scheduler_;
    backend_->operations = operations_.get();
    captures_ = std::make_unique<Captures>(backend_.get(), &watcher_.captures(),
                                           options.allow_capture);
    backend_->captures = captures_.get();
    return absl::OkStatus();
  }

  void MakeServices() {
    const Edge files = {&metrics_, &file_queue_, gate_.get()};
    const Edge transfers = {&metrics_, &transfer_queue_, gate_.get()};
    const Edge compute = {&metrics_, &read_queue_, gate_.get()};
    Backend* backend = backend_.get();
    services_.push_back(MakeCheckpointService(files, backend));
    services_.push_back(MakeCalibrationService(files, transfers, backend));
    services_.push_back(MakeQuantizationService(files, backend));
    services_.push_back(MakeBundleService(files, transfers, backend));
    services_.push_back(MakeModelService(files, backend));
    services_.push_back(MakeInferenceService(compute, backend));
    services_.push_back(MakeOpenInferenceService(files, compute, backend));
  }

  absl::Status Listen(const ServerOptions& options) {
    grpc::EnableDefaultHealthCheckService(true);
    // gRPC's own service comes without a description; this links one in.
    grpc::health::v1::HealthCheckRequest::descriptor();
    grpc::ServerBuilder builder;
    SetUp(options.transport, options.security.reflection != Reflection::kOff,
          &builder);
    builder.SetMaxReceiveMessageSize(
        static_cast<int>(options.max_message_bytes));
    builder.SetMaxSendMessageSize(-1);
    builder.AddListeningPort(options.grpc_address, security_->credentials(),
                             &grpc_port_);
    for (const auto& service : services_) {
      builder.RegisterService(service.get());
    }
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || grpc_port_ == 0) {
      return absl::UnavailableError(
          model::StrCat("cannot listen on '", options.grpc_address,
                        "': is the address free and of the form HOST:PORT?"));
    }
    grpc::HealthCheckServiceInterface* health =
        server_->GetHealthCheckService();
    for (const char* service : kServices) {
      health->SetServingStatus(service, false);
    }
    health->SetServingStatus(false);
    return absl::OkStatus();
  }

  // Destroyed from the last to the first: what uses comes after what is used.
  DataDirectory data_;
  telemetry::Metrics metrics_;
  serving::Watcher watcher_{&metrics_};
  telemetry::SecurityMetrics security_metrics_{metrics_.registry()};
  std::unique_ptr<Security> security_;
  std::unique_ptr<CallGate> gate_;
  kernels::ThreadPool pool_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<serving::ModelRegistry> models_;
  std::unique_ptr<Captures> captures_;
  std::unique_ptr<OperationMetrics> operation_metrics_;
  std::unique_ptr<quantization::Operations> operations_;
  serving::Scheduler scheduler_;
  serving::WorkQueue file_queue_;
  serving::WorkQueue read_queue_;  // ends before the scheduler it submits to
  serving::WorkQueue transfer_queue_;
  std::unique_ptr<telemetry::Exposer> exposer_;
  std::vector<std::unique_ptr<grpc::Service>> services_;
  int grpc_port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  absl::Mutex hurry_mutex_;
  bool hurry_ ABSL_GUARDED_BY(hurry_mutex_) = false;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

absl::StatusOr<std::unique_ptr<Server>> Server::Start(
    const ServerOptions& options) {
  ASSIGN_OR_RETURN(DataDirectory data,
                   DataDirectory::Open(options.data_directory));
  try {
    auto impl = std::make_unique<Impl>(std::move(data), options);
    RETURN_IF_ERROR(impl->Start(options));
    return std::unique_ptr<Server>(new Server(std::move(impl)));
  } catch (const std::system_error& error) {  // of a std::thread
    return TooFewThreads(options, error.what());
  }
}

int Server::grpc_port() const { return impl_->grpc_port(); }
int Server::metrics_port() const { return impl_->metrics_port(); }

void Server::Shutdown(absl::Duration grace, absl::Duration drain) {
  impl_->Shutdown(grace, drain);
}

void Server::Hurry() { impl_->Hurry(); }

}  // namespace octet::rpc
