#include "client/lib/connection.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace octet::client {
namespace {

std::shared_ptr<grpc::Channel> OpenChannel(const ConnectOptions& options) {
  grpc::ChannelArguments arguments;
  // What comes back is what was asked for: the caller bounded it already.
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5000);
  std::shared_ptr<grpc::ChannelCredentials> credentials =
      options.credentials.channel;
  if (credentials == nullptr) credentials = grpc::InsecureChannelCredentials();
  if (!options.credentials.server_name.empty()) {
    arguments.SetSslTargetNameOverride(options.credentials.server_name);
  }
  return grpc::CreateCustomChannel(options.server, credentials, arguments);
}

}  // namespace

Connection::Connection(const ConnectOptions& options)
    : options_(options),
      channel_(OpenChannel(options)),
      checkpoints_(v1::CheckpointService::NewStub(channel_)),
      calibrations_(v1::CalibrationService::NewStub(channel_)),
      quantization_(v1::QuantizationService::NewStub(channel_)),
      bundles_(v1::BundleService::NewStub(channel_)),
      models_(v1::ModelService::NewStub(channel_)),
      inference_(v1::InferenceService::NewStub(channel_)) {}

std::unique_ptr<Connection> Connection::Open(const ConnectOptions& options) {
  return std::unique_ptr<Connection>(new Connection(options));
}

void Connection::Cancel() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = true;
  for (grpc::ClientContext* call : calls_) call->TryCancel();
}

void Connection::Resume() {
  absl::MutexLock lock(&mutex_);
  cancelled_ = false;
}

absl::Status Connection::CheckCancelled() {
  absl::MutexLock lock(&mutex_);
  return cancelled_ ? absl::CancelledError("cancelled by the caller")
                    : absl::OkStatus();
}

absl::Status Connection::Sleep(absl::Duration duration) {
  {
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(&cancelled_), duration);
  }
  return CheckCancelled();
}

Call::Call(Connection& connection, Cancellation cancellation)
    : connection_(connection) {
  if (connection.options_.timeout != absl::InfiniteDuration()) {
    context_.set_deadline(
        absl::ToChronoTime(absl::Now() + connection.options_.timeout));
  }
  if (const std::string& token = connection.options_.credentials.token;
      !token.empty()) {
    context_.AddMetadata("authorization", absl::StrCat("Bearer ", token));
  }
  if (cancellation == Cancellation::kIgnores) return;
  absl::MutexLock lock(&connection_.mutex_);
  connection_.calls_.insert(&context_);
  if (connection_.cancelled_) context_.TryCancel();
}

Call::~Call() {
  absl::MutexLock lock(&connection_.mutex_);
  connection_.calls_.erase(&context_);
}

std::string ResourceName(absl::string_view collection, absl::string_view id) {
  if (absl::StrContains(id, '/')) return std::string(id);
  return absl::StrCat(collection, "/", id);
}

}  // namespace octet::client
