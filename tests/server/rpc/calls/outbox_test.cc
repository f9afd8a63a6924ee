// A download whose client does not read it, on a real connection.

#include <memory>
#include <string>
#include <thread>

#include "absl/synchronization/notification.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "octet/v1/bundle_service.grpc.pb.h"
#include "server/rpc/calls/call_gate.h"
#include "server/rpc/calls/reactors.h"
#include "server/telemetry/security_metrics.h"

namespace octet::rpc {
namespace {

constexpr size_t kMessages = 64;  // of 1 MiB: more than a connection buffers

using Downloads = v1::BundleService::WithRawCallbackMethod_DownloadBundle<
    v1::BundleService::Service>;

// Sends from a thread of its own, until it may send no more.
class Sender final : public Downloads {
 public:
  explicit Sender(const Edge& edge) : edge_(edge) {}
  ~Sender() override { thread_.join(); }

  grpc::ServerWriteReactor<grpc::ByteBuffer>* DownloadBundle(
      grpc::CallbackServerContext* context,
      const grpc::ByteBuffer* /*request*/) override {
    auto* outbox = new Outbox<grpc::ByteBuffer>(
        edge_, "BundleService/DownloadBundle", context);
    thread_ = std::thread([this, outbox] {
      v1::DownloadBundleResponse response;
      response.set_data(std::string(size_t{1} << 20, 'x'));
      const grpc::Slice slice(response.SerializeAsString());
      while (sent_ < kMessages && outbox->Send({&slice, 1})) ++sent_;
      outbox->Close(sent_ == kMessages ? absl::OkStatus()
                                       : absl::CancelledError("gone"));
      closed_.Notify();
    });
    return outbox;
  }

  // Until the worker is free.
  size_t AwaitSent() {
    closed_.WaitForNotification();
    return sent_;
  }

 private:
  const Edge edge_;
  size_t sent_ = 0;
  absl::Notification closed_;
  std::thread thread_;
};

class OutboxTest : public ::testing::Test {
 protected:
  void Start(absl::Duration patience) {
    security_ = *Security::Open({}, "127.0.0.1:0", &security_metrics_);
    gate_ = std::make_unique<CallGate>(security_.get(), ClientLimitOptions(),
                                       uint64_t{1} << 30, RequestLogOptions(),
                                       &security_metrics_);
    gate_->phase = Phase::kServing;
    sender_ = std::make_unique<Sender>(
        Edge{&metrics_, &queue_, gate_.get(), patience});
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", security_->credentials(), &port);
    builder.RegisterService(sender_.get());
    server_ = builder.BuildAndStart();
    stub_ = v1::BundleService::NewStub(
        grpc::CreateChannel("127.0.0.1:" + std::to_string(port),
                            grpc::InsecureChannelCredentials()));
  }

  telemetry::Metrics metrics_;
  telemetry::SecurityMetrics security_metrics_{metrics_.registry()};
  serving::WorkQueue queue_{1, 1};
  std::unique_ptr<Security> security_;
  std::unique_ptr<CallGate> gate_;
  std::unique_ptr<Sender> sender_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::BundleService::Stub> stub_;
};

TEST_F(OutboxTest, AClientThatDoesNotReadLosesItsCall) {
  Start(absl::Milliseconds(200));
  grpc::ClientContext context;
  auto reader = stub_->DownloadBundle(&context, {});
  v1::DownloadBundleResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_LT(sender_->AwaitSent(), kMessages);
  while (reader->Read(&response)) {
  }
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_NE(status.error_message().find("200ms"), std::string::npos)
      << status.error_message();
}

TEST_F(OutboxTest, AClientThatReadsGetsEverything) {
  Start(absl::Seconds(60));
  grpc::ClientContext context;
  auto reader = stub_->DownloadBundle(&context, {});
  v1::DownloadBundleResponse response;
  size_t received = 0;
  while (reader->Read(&response)) ++received;
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(received, kMessages);
}

}  // namespace
}  // namespace octet::rpc
