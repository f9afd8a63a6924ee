// Watching against a server in this process whose streams end early.

#include "client/lib/operations.h"

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace octet::client {
namespace {

using State = v1::Operation::State;

// Stream number i writes `streams[i]`, then ends with `error` unless it is the
// last.
class Watched : public v1::QuantizationService::Service {
 public:
  Watched() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~Watched() override { server_->Shutdown(); }

  grpc::Status WatchOperation(
      grpc::ServerContext*, const v1::WatchOperationRequest* request,
      grpc::ServerWriter<v1::Operation>* writer) override {
    const size_t i = opened++;
    for (const State state : streams.at(i)) {
      v1::Operation operation;
      operation.set_name(request->name());
      operation.set_state(state);
      if (state == v1::Operation::STATE_FAILED) {
        operation.mutable_error()->set_code(3);
        operation.mutable_error()->set_message("layer 'x' has a NaN");
      }
      writer->Write(operation);
    }
    return i + 1 < streams.size() ? error : grpc::Status::OK;
  }

  absl::StatusOr<v1::Operation> Watch() {
    const auto connection =
        Connection::Open({.server = "127.0.0.1:" + std::to_string(port_)});
    const RetryPolicy retry = {.max_attempts = 3,
                               .first = absl::Milliseconds(1),
                               .longest = absl::Milliseconds(1)};
    return client::WatchOperation(*connection, "7", retry, [&](const auto& o) {
      seen.push_back(o.state());
    });
  }

  std::vector<std::vector<State>> streams;
  grpc::Status error = {grpc::StatusCode::UNAVAILABLE, "gone"};
  std::vector<State> seen;
  size_t opened = 0;

 private:
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

TEST(WatchOperation, ConnectsAgainUntilTheOperationIsDone) {
  Watched server;
  server.streams = {{v1::Operation::STATE_QUEUED},
                    {v1::Operation::STATE_RUNNING},
                    {},
                    {v1::Operation::STATE_SUCCEEDED}};
  const auto last = server.Watch();
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_EQ(last->name(), "operations/7");
  EXPECT_TRUE(Outcome(*last).ok());
  EXPECT_THAT(server.seen,
              testing::ElementsAre(v1::Operation::STATE_QUEUED,
                                   v1::Operation::STATE_RUNNING,
                                   v1::Operation::STATE_SUCCEEDED));
}

TEST(WatchOperation, GivesUpWhenNothingComes) {
  Watched server;
  server.streams = {{}, {}, {}, {}, {}, {}};
  EXPECT_TRUE(absl::IsUnavailable(server.Watch().status()));
  EXPECT_EQ(server.opened, 3u);
}

TEST(WatchOperation, DoesNotAskAgainForWhatTheServerRefuses) {
  Watched server;
  server.streams = {{}, {}};
  server.error = {grpc::StatusCode::NOT_FOUND, "no operation '7'"};
  EXPECT_TRUE(absl::IsNotFound(server.Watch().status()));
  EXPECT_EQ(server.opened, 1u);
}

TEST(Outcome, IsTheErrorOfWhatFailedAndCancelledForWhatWasCancelled) {
  Watched server;
  server.streams = {{v1::Operation::STATE_FAILED}};
  const auto last = server.Watch();
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_TRUE(absl::IsInvalidArgument(Outcome(*last)));
  EXPECT_EQ(Outcome(*last).message(), "layer 'x' has a NaN");
  v1::Operation cancelled;
  cancelled.set_state(v1::Operation::STATE_CANCELLED);
  EXPECT_TRUE(absl::IsCancelled(Outcome(cancelled)));
  EXPECT_FALSE(Outcome(v1::Operation()).ok());
}

}  // namespace
}  // namespace octet::client
