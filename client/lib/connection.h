// A connection to one octet-server: the channel, a stub per service, and the
// deadline, token and cancellation that every call over it shares.
//
//   auto connection = Connection::Open({.server = "127.0.0.1:8001"});
//   Call call(*connection);
//   connection->models().GetModel(&call.context(), request, &model);

#ifndef OCTET_CLIENT_LIB_CONNECTION_H_
#define OCTET_CLIENT_LIB_CONNECTION_H_

#include <functional>
#include <memory>
#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/lib/credentials.h"
#include "client/lib/rpc_status.h"
#include "grpcpp/grpcpp.h"
#include "octet/v1/bundle_service.grpc.pb.h"
#include "octet/v1/calibration_service.grpc.pb.h"
#include "octet/v1/checkpoint_service.grpc.pb.h"
#include "octet/v1/inference_service.grpc.pb.h"
#include "octet/v1/model_service.grpc.pb.h"
#include "octet/v1/quantization_service.grpc.pb.h"

namespace octet::client {

// Chunks and progress: how many bytes (or batches, or steps) of how many.
using ProgressFn = std::function<void(int64_t done, int64_t total)>;

struct ConnectOptions {
  std::string server = "127.0.0.1:8001";  // host:port, dns:///..., unix:...
  absl::Duration timeout = absl::InfiniteDuration();  // of each call
  Credentials credentials = {};  // default: plaintext, no token
};

class Connection {
 public:
  // Connects lazily: a server that is not there shows in the first call.
  static std::unique_ptr<Connection> Open(const ConnectOptions& options);

  v1::CheckpointService::Stub& checkpoints() { return *checkpoints_; }
  v1::CalibrationService::Stub& calibrations() { return *calibrations_; }
  v1::QuantizationService::Stub& quantization() { return *quantization_; }
  v1::BundleService::Stub& bundles() { return *bundles_; }
  v1::ModelService::Stub& models() { return *models_; }
  v1::InferenceService::Stub& inference() { return *inference_; }
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  const std::string& server() const { return options_.server; }

  // Cancels every call in flight and every later one, from any thread.
  void Cancel();
  // Lets calls through again.
  void Resume();
  // CANCELLED between Cancel and Resume: for work between calls.
  absl::Status CheckCancelled();
  // Sleeps, or returns CANCELLED as soon as Cancel is called.
  absl::Status Sleep(absl::Duration duration);

 private:
  friend class Call;
  explicit Connection(const ConnectOptions& options);

  const ConnectOptions options_;
  const std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::CheckpointService::Stub> checkpoints_;
  std::unique_ptr<v1::CalibrationService::Stub> calibrations_;
  std::unique_ptr<v1::QuantizationService::Stub> quantization_;
  std::unique_ptr<v1::BundleService::Stub> bundles_;
  std::unique_ptr<v1::ModelService::Stub> models_;
  std::unique_ptr<v1::InferenceService::Stub> inference_;

  absl::Mutex mutex_;
  bool cancelled_ ABSL_GUARDED_BY(mutex_) = false;
  std::set<grpc::ClientContext*> calls_ ABSL_GUARDED_BY(mutex_);
};

// The context of one call, with the connection's deadline, token and
// cancellation.
class Call {
 public:
  enum class Cancellation { kFollows, kIgnores };

  // kIgnores is for calls that start something: they are short, and their
  // answer is needed to stop what they started.
  explicit Call(Connection& connection,
                Cancellation cancellation = Cancellation::kFollows);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  grpc::ClientContext& context() { return context_; }

 private:
  Connection& connection_;
  grpc::ClientContext context_;
};

// Runs a unary method: Unary(connection, connection.models(),
// &v1::ModelService::Stub::GetModel, request) is a StatusOr<v1::Model>.
template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Unary(
    Connection& connection, Stub& stub,
    grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                 Response*),
    const Request& request) {
  Call call(connection);
  Response response;
  const absl::Status status =
      FromGrpc((stub.*method)(&call.context(), request, &response));
  if (!status.ok()) return status;
  return response;
}

// "bundles/x" of ("bundles", "x"); names that have a slash stay as they are.
std::string ResourceName(absl::string_view collection, absl::string_view id);

}  // namespace octet::client

#endif  // OCTET_CLIENT_LIB_CONNECTION_H_
