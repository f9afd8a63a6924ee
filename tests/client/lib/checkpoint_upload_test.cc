// Uploads against a server in this process that breaks when it is told to.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "client/lib/checkpoints.h"
#include "client/lib/digest.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/lib/temporary_directory.h"

namespace octet::client {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

// Keeps what it gets; streams end after `break_after` chunks with `error`.
class BreakingServer : public v1::CheckpointService::Service {
 public:
  BreakingServer() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~BreakingServer() override { server_->Shutdown(); }

  grpc::Status GetCheckpoint(grpc::ServerContext*,
                             const v1::GetCheckpointRequest* request,
                             v1::Checkpoint* checkpoint) override {
    absl::MutexLock lock(&mutex_);
    if (bytes.empty()) return {grpc::StatusCode::NOT_FOUND, "no such upload"};
    checkpoint->set_name(request->name());
    checkpoint->set_state(active ? v1::Checkpoint::STATE_ACTIVE
                                 : v1::Checkpoint::STATE_UPLOADING);
    for (const auto& file : declared) {
      v1::UploadedFile& held = *checkpoint->add_files();
      held = file;
      held.set_received_bytes(int64_t(bytes[file.path()].size()));
    }
    return grpc::Status::OK;
  }

  grpc::Status UploadCheckpoint(
      grpc::ServerContext*,
      grpc::ServerReader<v1::UploadCheckpointRequest>* reader,
      v1::Checkpoint* checkpoint) override {
    absl::MutexLock lock(&mutex_);
    ++streams;
    v1::UploadCheckpointRequest request;
    EXPECT_TRUE(reader->Read(&request));
    declared.assign(request.header().files().begin(),
                    request.header().files().end());
    for (const auto& file : declared) bytes[file.path()];
    for (size_t chunks = 0; reader->Read(&request); ++chunks) {
      if (breaks > 0 && chunks == break_after) {
        --breaks;
        return error;
      }
      const v1::FileChunk& chunk = request.chunk();
      std::string& file = bytes[chunk.path()];
      EXPECT_EQ(chunk.offset(), int64_t(file.size())) << chunk.path();
      EXPECT_EQ(chunk.crc32c(), Crc32c(chunk.data()));
      file += chunk.data();
      received += chunk.data().size();
    }
    active = true;
    checkpoint->set_state(v1::Checkpoint::STATE_ACTIVE);
    if (breaks > 0) {
      --breaks;
      return error;
    }
    return grpc::Status::OK;
  }

  std::unique_ptr<Connection> Connect() const {
    return Connection::Open({.server = "127.0.0.1:" + std::to_string(port_)});
  }

  int breaks = 0;
  size_t break_after = 0;
  grpc::Status error = {grpc::StatusCode::UNAVAILABLE, "gone"};
  std::map<std::string, std::string> bytes;
  std::vector<v1::UploadedFile> declared;
  size_t received = 0;
  int streams = 0;
  bool active = false;

 private:
  absl::Mutex mutex_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

class Upload : public testing::Test {
 protected:
  Upload() : weights_(3 * kMiB + 17, 'w') {
    for (size_t i = 0; i < weights_.size(); ++i) weights_[i] = char(i % 253);
    directory_.Write("config.json", "{}");
    directory_.Write("model.safetensors", weights_);
    options_.retry = {.max_attempts = 3,
                      .first = absl::Milliseconds(1),
                      .longest = absl::Milliseconds(2)};
  }

  absl::StatusOr<v1::Checkpoint> Run() {
    const auto connection = server_.Connect();
    return UploadCheckpoint(*connection, directory_.path(), "m", options_);
  }

  void ExpectEverythingOnce() {
    EXPECT_EQ(server_.bytes["model.safetensors"], weights_);
    EXPECT_EQ(server_.bytes["config.json"], "{}");
    EXPECT_EQ(server_.received, weights_.size() + 2);
  }

  BreakingServer server_;
  TemporaryDirectory directory_;
  std::string weights_;
  UploadOptions options_;
};

TEST_F(Upload, SendsEveryByteAndReportsProgressToTheEnd) {
  int64_t last = 0;
  options_.progress = [&](int64_t done, int64_t total) {
    EXPECT_GE(done, last);
    EXPECT_EQ(total, int64_t(weights_.size()) + 2);
    last = done;
  };
  const auto checkpoint = Run();
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  ExpectEverythingOnce();
  EXPECT_EQ(last, int64_t(weights_.size()) + 2);
}

TEST_F(Upload, GoesOnFromReceivedBytesWhereTheConnectionBroke) {
  // Broken more often than there are attempts: progress starts the count anew.
  server_.breaks = 3;
  server_.break_after = 1;
  const auto checkpoint = Run();
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(server_.streams, 4);
  ExpectEverythingOnce();
}

TEST_F(Upload, WaitsWhileTheServerStillHasTheBrokenStream) {
  server_.breaks = 1;
  server_.error = {grpc::StatusCode::ABORTED, "another upload is running"};
  EXPECT_TRUE(Run().ok());
  EXPECT_EQ(server_.streams, 2);
}

TEST_F(Upload, GivesUpAfterItsAttemptsWithoutProgress) {
  server_.breaks = 100;
  EXPECT_TRUE(absl::IsUnavailable(Run().status()));
  EXPECT_EQ(server_.streams, 3);
}

TEST_F(Upload, DoesNotRepeatWhatTheServerRefuses) {
  server_.breaks = 100;
  server_.error = {grpc::StatusCode::INVALID_ARGUMENT, "wrong"};
  EXPECT_TRUE(absl::IsInvalidArgument(Run().status()));
  EXPECT_EQ(server_.streams, 1);
}

TEST_F(Upload, IsDoneWhenOnlyTheAnswerWasLost) {
  server_.breaks = 1;
  server_.break_after = 100;  // after the last chunk
  const auto checkpoint = Run();
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->state(), v1::Checkpoint::STATE_ACTIVE);
  EXPECT_EQ(server_.streams, 1);
}

TEST_F(Upload, ContinuesAnUploadOfAnEarlierProcess) {
  server_.breaks = 1;
  server_.break_after = 2;
  options_.retry.max_attempts = 1;
  EXPECT_FALSE(Run().ok());
  EXPECT_TRUE(Run().ok());
  ExpectEverythingOnce();
}

TEST_F(Upload, StopsWaitingWhenItIsCancelled) {
  server_.breaks = 100;
  options_.retry.first = options_.retry.longest = absl::Hours(1);
  const auto connection = server_.Connect();
  options_.progress = [&](int64_t, int64_t) { connection->Cancel(); };
  EXPECT_TRUE(absl::IsCancelled(
      UploadCheckpoint(*connection, directory_.path(), "m", options_)
          .status()));
}

}  // namespace
}  // namespace octet::client
