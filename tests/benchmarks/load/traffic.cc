#include "tests/benchmarks/load/traffic.h"

#include <chrono>
#include <functional>
#include <stdexcept>

#include "absl/time/clock.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/channel_arguments.h"
#include "grpcpp/support/status.h"

namespace octet::benchmarks {
namespace {

constexpr char kMethod[] = "/inference.GRPCInferenceService/ModelInfer";
constexpr absl::Duration kConnectPatience = absl::Seconds(60);
// A client that was refused waits so long before it asks again.
constexpr absl::Duration kPause = absl::Milliseconds(10);

std::string NameOf(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::OK:
      return "OK";
    case grpc::StatusCode::CANCELLED:
      return "CANCELLED";
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return "DEADLINE_EXCEEDED";
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return "RESOURCE_EXHAUSTED";
    case grpc::StatusCode::UNAVAILABLE:
      return "UNAVAILABLE";
    default:
      return "code " + std::to_string(code);
  }
}

// Each its own connection: gRPC would share one between equal channels.
std::unique_ptr<grpc::GenericStub> Connect(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto channel = grpc::CreateCustomChannel(
      address, grpc::InsecureChannelCredentials(), arguments);
  if (!channel->WaitForConnected(
          absl::ToChronoTime(absl::Now() + kConnectPatience))) {
    throw std::runtime_error("nobody answers at " + address);
  }
  return std::make_unique<grpc::GenericStub>(channel);
}

}  // namespace

struct Traffic::Call {
  grpc::ClientContext context;
  grpc::ByteBuffer answer;
};

Traffic::Traffic(const std::string& address, const TrafficOptions& options,
                 Requests* requests, Recorder* recorder)
    : options_(options),
      requests_(*requests),
      recorder_(*recorder),
      random_(options.seed) {
  for (size_t i = 0; i < options.connections; ++i) {
    stubs_.push_back(Connect(address));
  }
}

Traffic::~Traffic() {
  while (in_flight_ != 0) absl::SleepFor(kPause);
}

Traffic::CallPtr Traffic::Send(size_t connection, absl::Time due,
                               std::function<void()> then) {
  auto call = std::make_shared<Call>();
  call->context.set_deadline(
      absl::ToChronoTime(absl::Now() + options_.deadline));
  ++in_flight_;
  stubs_[connection % stubs_.size()]->UnaryCall(
      &call->context, kMethod, grpc::StubOptions(), &requests_.Next(),
      &call->answer,
      [this, call, due, then = std::move(then)](const grpc::Status& status) {
        recorder_.Answered(NameOf(status.error_code()), absl::Now() - due);
        if (!status.ok() && then) absl::SleepFor(kPause);
        if (then) then();
        --in_flight_;
      });
  return call;
}

void Traffic::SendNext(size_t client, absl::Time end) {
  const absl::Time now = absl::Now();
  if (now >= end) return;
  Send(client, now, [this, client, end] { SendNext(client, end); });
}

void Traffic::RunClosed(size_t clients, absl::Time end) {
  for (size_t i = 0; i < clients; ++i) SendNext(i, end);
  absl::SleepFor(end - absl::Now());
}

void Traffic::RunOpen(double per_second, absl::Time end) {
  std::exponential_distribution<double> gap(per_second);
  std::bernoulli_distribution gives_up(options_.cancelled_share);
  size_t sent = 0;
  for (absl::Time due = absl::Now(); due < end;
       due += absl::Seconds(gap(random_))) {
    CancelImpatient(due);
    absl::SleepFor(due - absl::Now());
    const CallPtr call = Send(sent++, due, nullptr);
    if (gives_up(random_)) {
      impatient_.emplace_back(due + options_.cancelled_after, call);
    }
  }
  CancelImpatient(absl::InfiniteFuture());
}

// Those whose time comes before `now`, each when it comes.
void Traffic::CancelImpatient(absl::Time now) {
  while (!impatient_.empty() && impatient_.front().first < now) {
    absl::SleepFor(impatient_.front().first - absl::Now());
    if (const CallPtr call = impatient_.front().second.lock()) {
      call->context.TryCancel();
    }
    impatient_.pop_front();
  }
}

}  // namespace octet::benchmarks
